// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/stable/ops.h>

#include <cstdint>

namespace mirage {

// torch::stable::parallel_for, without the call into torch where one thread does all of it anyway.
template <class Run>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Run& run) {
  if (end - begin > grain)
    torch::stable::parallel_for(begin, end, grain, run);
  else if (begin < end)
    run(begin, end);
}

}  // namespace mirage
