"""vLLM's schedulers with limits that change between two steps; the only file that knows vLLM.

Written against vLLM 0.32 (engine V1). Everything that is decided without vLLM is elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from vllm.logger import init_logger
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.request_queue import SchedulingPolicy, create_request_queue
from vllm.v1.core.sched.scheduler import Scheduler

from llmserve_vllm.control import KnobControl
from llmserve_vllm.http_channel import ControlServer
from llmserve_vllm.knobs import EngineFacts, Knobs
from llmserve_vllm.kv_hold import BlockHold
from llmserve_vllm.options import read_options

_logger = init_logger("vllm.llmserve")  # under vLLM's own, so that its set-up holds


class _Tunable(Scheduler):
    """Goes before one of vLLM's schedulers."""

    dynamic_sd_lookup: list[int] | None
    policy: SchedulingPolicy

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.parallel_config.data_parallel_size > 1:
            raise ValueError(
                "llmserve-vllm controls one engine per server, got --data-parallel-size "
                f"{self.parallel_config.data_parallel_size}"
            )
        self._llmserve_facts = self._read_facts()
        self._llmserve_lookup = self.dynamic_sd_lookup
        self._llmserve_hold = BlockHold(self.kv_cache_manager.block_pool)
        self._llmserve_steps, self._llmserve_stepped_s = 0, time.monotonic()
        self._llmserve_control = KnobControl(
            self._llmserve_facts.defaults, self._llmserve_facts.bounds
        )
        options = read_options(self.vllm_config.additional_config)
        self._llmserve_channel = ControlServer(
            self._llmserve_control,
            self._engine_state,
            port=options.port,
            token=options.token,
        )
        _logger.info("llmserve: control channel at http://127.0.0.1:%d", options.port)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Put into force what is wanted, then take a step."""
        self._llmserve_steps += 1
        self._llmserve_stepped_s = time.monotonic()
        knobs = self._llmserve_control.due()
        if knobs is not None:
            self._put_in_force(knobs)
            self._llmserve_control.note_in_force(knobs)
        self._llmserve_hold.settle()
        return super().schedule(*args, **kwargs)

    def get_kv_cache_usage(self) -> float:
        """The share of all blocks that requests hold; what is held back is not used."""
        return self._llmserve_hold.usage

    def make_stats(self, *args: Any, **kwargs: Any) -> Any:
        """The statistics of a step, with that share."""
        stats = super().make_stats(*args, **kwargs)
        if stats is not None:
            stats.kv_cache_usage = self._llmserve_hold.usage
        return stats

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> bool:
        """Reset the cache, which needs every block; the next step holds them back again."""
        self._llmserve_hold.release()
        return bool(super().reset_prefix_cache(*args, **kwargs))

    def shutdown(self) -> None:
        """Close the control channel, too."""
        self._llmserve_channel.close()
        super().shutdown()

    def _put_in_force(self, knobs: Knobs) -> None:
        facts = self._llmserve_facts
        self.max_num_active_reqs = knobs.batch_cap
        self.max_num_scheduled_tokens = knobs.token_budget
        self.scheduler_config.long_prefill_token_threshold = knobs.prefill_chunk_tokens
        self._llmserve_hold.leave(knobs.kv_budget_fraction)
        if knobs.speculation_depth == facts.num_spec_tokens:
            self.dynamic_sd_lookup = self._llmserve_lookup
        else:  # by batch size: the same depth for all
            self.dynamic_sd_lookup = [knobs.speculation_depth] * (facts.max_num_seqs + 1)
        self._order_by(
            SchedulingPolicy.PRIORITY if knobs.priority_routing else SchedulingPolicy.FCFS
        )

    def _order_by(self, policy: SchedulingPolicy) -> None:
        if policy is self.policy:
            return
        for name in ("waiting", "kv_holding_waiting"):
            queue = create_request_queue(policy)
            for request in sorted(getattr(self, name), key=lambda each: each.arrival_time):
                queue.add_request(request)
            setattr(self, name, queue)
        self.policy = policy

    def _read_facts(self) -> EngineFacts:
        return EngineFacts(
            max_num_seqs=self.max_num_running_reqs,
            max_active=self.max_num_active_reqs,
            token_budget=self.max_num_scheduled_tokens,
            prefill_chunk_tokens=self.scheduler_config.long_prefill_token_threshold,
            can_chunk=self.scheduler_config.enable_chunked_prefill,
            num_spec_tokens=self.num_spec_tokens,
            is_priority=self.policy is SchedulingPolicy.PRIORITY,
            kv_blocks=self.kv_cache_manager.block_pool.num_gpu_blocks - 1,
            block_tokens=self.block_size,
            kv_groups=len(self.kv_cache_config.kv_cache_groups),
            max_model_len=self.max_model_len,
        )

    def _engine_state(self) -> dict[str, Any]:
        """What the engine does just now; read from another thread, so each number by itself."""
        running, waiting = self.get_request_counts()
        return {
            "is_idle": running + waiting == 0,
            "running": running,
            "waiting": waiting,
            "kv_usage_fraction": self._llmserve_hold.usage,
            "kv_held_back_blocks": self._llmserve_hold.held,
            "steps": self._llmserve_steps,
            "last_step_age_s": time.monotonic() - self._llmserve_stepped_s,
            "started_with": asdict(self._llmserve_facts),
        }


class TunableScheduler(_Tunable):
    """For engines that schedule synchronously: CPUs, and n-gram speculation."""


class TunableAsyncScheduler(_Tunable, AsyncScheduler):
    """For engines that schedule asynchronously, as vLLM does on GPUs by default."""
