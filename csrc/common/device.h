// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/dynamic_shared.h"
#include "hostdev.h"

// What kernels (<op>_kernels.cuh) need beyond hostdev.h: CUDA, and no torch. The tests also compile them for a CPU,
// with headers that replace CUDA's. So blocks are whole warps, every thread of a block reaches every barrier, and
// shared memory whose size the launch gives is declared by MIRAGE_DYNAMIC_SHARED.
namespace mirage {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Fill {
  void* at;  // on a multiple of sixteen bytes
  int64_t bytes;
  uint8_t value;
};

using Word64 = unsigned long long;  // what 64-bit atomics take; uint64_t is another type of the same size

}  // namespace mirage
