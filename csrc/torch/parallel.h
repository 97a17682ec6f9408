// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "torch/api.h"

namespace mirage {

// torch::stable::parallel_for, without the call into torch where one thread does all of it anyway. A std::bad_alloc of
// run is passed on; torch would turn it into an error without a reason.
template <class Run>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Run& run) {
  if (end - begin > grain) {
    std::atomic<bool> exhausted = false;
    torch::stable::parallel_for(begin, end, grain, [&](int64_t first, int64_t last) {
      try {
        run(first, last);
      } catch (const std::bad_alloc&) {
        exhausted = true;
      }
    });
    if (exhausted) throw std::bad_alloc();
  } else if (begin < end) {
    run(begin, end);
  }
}

}  // namespace mirage
