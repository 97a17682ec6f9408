// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "torch/tensor.h"
#include "voxel_cache/voxel_cache_operands.h"

namespace mirage {

struct VoxelCacheOnCpu : CpuDevice {
  static Planned plan(const PlanOperands& in);
  static void commit(const CommitOperands& in);
  static void index(const Tensor& keys, const RowsOfCache& state, int64_t rows);
};

}  // namespace mirage
