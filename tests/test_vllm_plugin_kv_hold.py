"""Blocks held back from a pool: none is lost, none is taken from a request."""

from hypothesis import given
from hypothesis import strategies as st
from llmserve_vllm.kv_hold import BlockHold


class Pool:
    """A pool of blocks like vLLM's: block 0 is the null block."""

    def __init__(self, blocks):
        self.num_gpu_blocks = blocks
        self.free = list(range(1, blocks))

    def get_num_free_blocks(self):
        return len(self.free)

    def get_new_blocks(self, num_blocks):
        taken, self.free = self.free[:num_blocks], self.free[num_blocks:]
        return taken

    def free_blocks(self, ordered_blocks):
        self.free.extend(ordered_blocks)


def test_a_budget_holds_the_other_blocks_back():
    pool = Pool(101)
    hold = BlockHold(pool)

    hold.leave(0.25)

    assert (hold.held, pool.get_num_free_blocks()) == (75, 25)
    assert hold.usage == 0.0


def test_blocks_of_requests_are_taken_only_when_they_are_given_back():
    pool = Pool(101)
    of_requests = pool.get_new_blocks(60)
    hold = BlockHold(pool)

    hold.leave(0.5)
    held_at_once = hold.held
    pool.free_blocks(of_requests)
    hold.settle()

    assert (held_at_once, hold.held) == (40, 50)


def test_usage_is_of_the_whole_pool_without_what_is_held_back():
    pool = Pool(101)
    pool.get_new_blocks(20)
    hold = BlockHold(pool)

    hold.leave(0.5)

    assert hold.usage == 0.2


def test_a_raised_budget_gives_blocks_back_at_once():
    pool = Pool(101)
    hold = BlockHold(pool)
    hold.leave(0.1)

    hold.leave(1.0)

    assert (hold.held, sorted(pool.free)) == (0, list(range(1, 101)))


def test_released_blocks_are_held_again_after_the_next_settling():
    pool = Pool(101)
    hold = BlockHold(pool)
    hold.leave(0.5)

    hold.release()
    free_for_reset = pool.get_num_free_blocks()
    hold.settle()

    assert (free_for_reset, hold.held) == (100, 50)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 40)), max_size=30))
def test_no_block_is_lost_or_held_twice(moves):
    pool = Pool(81)
    hold, of_requests = BlockHold(pool), []

    for fraction, wanted in moves:
        hold.leave(fraction)
        pool.free_blocks(of_requests)
        of_requests = pool.get_new_blocks(min(wanted, len(pool.free)))
        hold.settle()
    pool.free_blocks(of_requests)
    hold.release()

    assert sorted(pool.free) == list(range(1, 81))
