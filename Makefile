# Aliases; each recipe is the whole command.
.PHONY: run check format lock image

run:
	uv run --frozen uvicorn server.app:app --host 0.0.0.0 --port 7860

check:
	uv run --frozen python scripts/run_checks.py

format:
	uv run --frozen ruff check --fix
	uv run --frozen ruff format

lock:
	uv lock

image:
	docker build -t llmserve-env .
