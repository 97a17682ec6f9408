// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0

// Loaded before everything else (LD_PRELOAD), it lets one allocation fail, or one and all after it: those that the
// native kernels make with operator new, and those of torch for the memory of tensors (posix_memalign). Others are
// neither counted nor failed.

#include <dlfcn.h>
#include <errno.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> counted{0}, failing{-1};
std::atomic<bool> all_after{false};
const char *first_address = nullptr, *last_address = nullptr;

bool fails() {
  const long wanted = failing.load();
  if (wanted < 0) return false;
  const long number = counted.fetch_add(1);
  return number == wanted || (all_after && number > wanted);
}

void* allocate(std::size_t size, const void* caller) {
  const bool native = caller >= first_address && caller < last_address;
  void* memory = native && fails() ? nullptr : std::malloc(size ? size : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

extern "C" {

// The addresses of the native kernels.
void failing_range(const char* first, const char* last) {
  first_address = first;
  last_address = last;
}

// Counts from 0 and lets allocation `number` fail, with `sticky` all after it as well.
void failing_arm(long number, int sticky) {
  counted = 0;
  all_after = sticky != 0;
  failing = number;
}

// Ends that; returns how many allocations there were.
long failing_disarm() {
  failing = -1;
  return counted;
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  using Function = int (*)(void**, std::size_t, std::size_t);
  static const Function next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "posix_memalign"));
  return fails() ? ENOMEM : next(memory, alignment, size);
}

}  // extern "C"

void* operator new(std::size_t size) { return allocate(size, __builtin_return_address(0)); }
void* operator new[](std::size_t size) { return allocate(size, __builtin_return_address(0)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
