// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "torch/views_cuda.h"
#include "voxel_cache/voxel_cache_read_kernels.cuh"
#include "voxel_cache/voxel_cache_read_operands.h"

namespace mirage {
namespace {

constexpr int64_t kMaxCarveBlocks = limit_of(1024, 2);  // blocks: a large device holds as many at once

bool all_aligned(const void* at, int64_t step) {  // at, at + step, ... bytes
  return reinterpret_cast<uintptr_t>(at) % 16 == 0 && step % 16 == 0;
}

struct VoxelCacheReadOnCuda : CudaDevice {
  static void carve(const CarveOperands& in) {
    const OnDevice on(in.keep);
    const ViewsOnDevice views(in.cameras, 0.0f, Fill{in.rows.keep, in.rows.rows, 1}, on.stream);
    const int64_t blocks = std::min(ceil_div(in.rows.boxes.size0, kCarveWarps), kMaxCarveBlocks);
    if (in.rows.views > 0)
      launch(voxel_cache_carve_kernel, static_cast<unsigned>(blocks), kCarveThreads, 0, on.stream, in.rows,
             views.views);
  }

  // A kernel cannot raise: an index that names a row that does not exist reads as a hole.
  static void decode(const DecodeOperands& in) {
    const OnDevice on(in.out);
    const auto aligned = all_aligned(in.rows.features, in.rows.channels * size_of(in.rows.element));
    const bool aligned_out = all_aligned(in.out.const_data_ptr(), in.cells * in.out.element_size());
    with_type(in.out.scalar_type(), [&](auto word) {
      using To = decltype(word);
      launch(voxel_cache_decode_kernel<To>, blocks_of(in.views * ceil_div(in.cells, kDecodeCells), 1), kDecodeThreads,
             0, on.stream, in.rows, aligned, DecodedCells{data<int64_t>(in.index), in.cells, aligned_out},
             mutable_data<To>(in.out));
    });
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_voxel_cache_read<mirage::VoxelCacheReadOnCuda>(m); }
