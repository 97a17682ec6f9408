// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// The threads of a CUDA block as fibers on one OS thread. A fiber runs until it waits: for a barrier, or for the other
// lanes of a warp. The order of blocks, and that of the threads within one, is another one every time.
namespace emulation {

struct Index {
  unsigned x = 1, y = 1, z = 1;
  Index(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  size_t count() const { return size_t{x} * y * z; }
  Index at(size_t i) const {
    return {static_cast<unsigned>(i % x), static_cast<unsigned>(i / x % y), static_cast<unsigned>(i / x / y)};
  }
};

constexpr int kLanes = 32;
constexpr size_t kStack = 128 << 10;
constexpr size_t kMaxShared = 163 << 10;  // of a block, on the smallest of the architectures

struct Warp {
  uint64_t value[kLanes];
  uint32_t mask[kLanes];
  uint64_t turns[kLanes];  // exchanges each lane has completed
  uint32_t arrived;
};

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t start;
  jmp_buf point;
  bool started = false, done = true;
  Index thread;
  int lane = 0;
  Warp* warp = nullptr;
  const uint64_t* watched = nullptr;  // resumed when this no longer holds `seen`
  uint64_t seen = 0;
  uint64_t received[kLanes];  // what the lanes of the last exchange brought
  std::vector<Copy> copies;   // begun and not waited for
  size_t committed = 0;       // of them
};

struct Barrier {
  uint64_t turns = 0;
  size_t arrived = 0;
  int sum = 0, total = 0;
};

struct Machine {
  std::mutex lock;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  std::vector<std::max_align_t> shared;
  std::function<void()> body;
  Barrier barrier;
  Fiber* current = nullptr;
  jmp_buf scheduler;
  const char* failure = nullptr;
  uint64_t random = 0x9e3779b97f4a7c15u;
  Index grid, block, block_index;
};

inline Machine machine;

struct Operations {  // asked of the device since the library was loaded
  int64_t launches = 0, fills = 0, sorts = 0, waits = 0, blocks = 0;
};

inline Operations operations;

inline uint64_t rasterize() {  // xorshift
  uint64_t& x = machine.random;
  x ^= x << 13;
  x ^= x >> 7;
  return x ^= x << 17;
}

inline void shuffle(std::vector<size_t>& order) {
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rasterize() % i]);
}

// makecontext and setcontext start a fiber; later switches are plain jumps, which save no signal mask and cost no call
// into the kernel.
__attribute__((noinline)) inline void leave() {
  if (_setjmp(machine.current->point) == 0) _longjmp(machine.scheduler, 1);
}

inline void fiber_main() {
  for (;;) {
    machine.body();
    machine.current->done = true;
    leave();
  }
}

__attribute__((noinline)) inline void resume(Fiber& fiber) {
  machine.current = &fiber;
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.point, 1);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStack;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, fiber_main, 0);
  setcontext(&fiber.start);
}

inline void wait_for(const uint64_t& word) {
  machine.current->watched = &word;
  machine.current->seen = word;
  leave();
}

inline void require(bool ok, const char* what) {  // on a fiber
  if (ok) return;
  machine.failure = what;
  leave();  // and never back
}

// Other threads may run here: in front of an atomic, every now and then.
inline void maybe_yield() {
  if (rasterize() % 8 == 0) leave();
}

inline void sync_threads(int flag) {
  Barrier& b = machine.barrier;
  b.sum += flag;
  if (++b.arrived < machine.block.count()) return wait_for(b.turns);
  b.total = b.sum;
  b.sum = 0;
  b.arrived = 0;
  ++b.turns;
}

// Waits until all lanes of the mask are here; what each brought, by lane.
inline const uint64_t* exchange(uint32_t mask, uint64_t value) {
  Fiber& me = *machine.current;
  Warp& w = *me.warp;
  require(mask >> me.lane & 1, "a lane is not in the mask that it names");
  w.value[me.lane] = value;
  w.mask[me.lane] = mask;
  w.arrived |= 1u << me.lane;
  if ((w.arrived & mask) != mask) {
    wait_for(w.turns[me.lane]);
    return me.received;
  }
  const size_t first = (&w - machine.warps.data()) * kLanes;
  for (uint32_t left = mask; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    require(w.mask[lane] == mask, "the lanes of a warp name different masks");
    std::memcpy(machine.fibers[first + lane]->received, w.value, sizeof(w.value));
    ++w.turns[lane];
  }
  w.arrived &= ~mask;
  return me.received;
}

// Static shared variables lie in a section of their own, so that they can be overwritten before every block.
extern "C" {
extern char __start_mirage_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_mirage_shared[] __attribute__((weak, visibility("hidden")));
}

inline void* dynamic_shared() { return machine.shared.data(); }

inline void run_block(const Index& index) {
  const size_t threads = machine.block.count();
  const int poison = static_cast<int>(rasterize() & 0xff);
  if (__start_mirage_shared) std::memset(__start_mirage_shared, poison, __stop_mirage_shared - __start_mirage_shared);
  std::memset(machine.shared.data(), poison, machine.shared.size() * sizeof(std::max_align_t));
  machine.block_index = index;
  machine.barrier = {};
  machine.warps.assign((threads + kLanes - 1) / kLanes, Warp{});
  while (machine.fibers.size() < threads) machine.fibers.push_back(std::make_unique<Fiber>());
  std::vector<size_t> order(threads);
  shuffle(order);
  for (size_t i = 0; i < threads; ++i) {
    Fiber& fiber = *machine.fibers[i];
    fiber.done = false;
    fiber.watched = nullptr;
    fiber.copies.clear();
    fiber.committed = 0;
    fiber.thread = machine.block.at(i);
    fiber.lane = static_cast<int>(i % kLanes);
    fiber.warp = &machine.warps[i / kLanes];
  }
  for (size_t left = threads; left;) {
    bool moved = false;
    for (size_t i : order) {
      Fiber& fiber = *machine.fibers[i];
      if (fiber.done || (fiber.watched && *fiber.watched == fiber.seen)) continue;
      fiber.watched = nullptr;
      moved = true;
      resume(fiber);
      if (machine.failure) return;
      left -= fiber.done;
    }
    if (!moved) machine.failure = "threads wait for ones that have left, or that wait elsewhere";
    if (machine.failure) return;
  }
}

inline void run_grid(Index grid, Index block, size_t shared_bytes, std::function<void()> body) {
  if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 || block.count() > 1024 || block.count() % kLanes != 0 ||
      shared_bytes > kMaxShared)
    throw std::runtime_error("emulation: a launch that a device would refuse, or with a part of a warp");
  const std::lock_guard<std::mutex> locked(machine.lock);
  ++operations.launches;
  operations.blocks += static_cast<int64_t>(grid.count());
  machine.grid = grid;
  machine.block = block;
  machine.body = std::move(body);
  // no byte more than was asked for, up to the rounding
  machine.shared.assign((shared_bytes + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t), {});
  std::vector<size_t> order(grid.count());
  shuffle(order);
  for (size_t i : order) {
    run_block(grid.at(i));
    if (!machine.failure) continue;
    const char* failure = std::exchange(machine.failure, nullptr);
    machine.fibers.clear();  // some stand in the middle of the kernel
    throw std::runtime_error(std::string("emulation: ") + failure);
  }
}

}  // namespace emulation
