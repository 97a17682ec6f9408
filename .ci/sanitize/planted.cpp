// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0

// Faults on purpose, compiled into the sanitized module as any other source, to show that its sanitizer finds them.

#include <cstdint>
#include <vector>

#include "torch/parallel.h"

#define PLANTED extern "C" __attribute__((visibility("default")))

PLANTED int planted_heap_overflow(int index) {
  const std::vector<int> values(8);
  return values.data()[index];  // called with 8
}

PLANTED int planted_signed_overflow(int value) { return value + 1; }  // called with INT_MAX

PLANTED int planted_float_cast(float value) { return static_cast<int>(value); }  // called with 1e20

PLANTED int64_t planted_race(int64_t count) {
  int64_t sum = 0;
  mirage::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  return sum;
}
