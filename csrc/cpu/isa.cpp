// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "isa.h"

#include <atomic>

namespace mirage {

Isa best_isa() {
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                        __builtin_cpu_supports("bmi2");
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::kAvx512;
  if (has_avx2) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

namespace {
std::atomic<Isa> chosen{best_isa()};
}

Isa current_isa() { return chosen.load(std::memory_order_relaxed); }

bool set_isa(Isa request) {
  if (request < Isa::kBaseline || request > best_isa()) return false;
  chosen.store(request, std::memory_order_relaxed);
  return true;
}

}  // namespace mirage
