// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "splat/splat_cells_cuda.h"
#include "splat/splat_cuda.h"
#include "splat/splat_layers_kernels.cuh"
#include "splat/splat_layers_operands.h"

namespace mirage {
namespace {

constexpr int64_t kBlocksWanted = limit_of(1024, 16);  // that keep a large device busy
constexpr int64_t kMaxBlocks = limit_of(4096, 3);     // more load the same views again and again

template <Shape kShape>
void rasterize_layers(const LayersOperands& in, const ViewsOnDevice& views, Word64* keys, cudaStream_t stream) {
  const int64_t cells = in.cameras.cells(), stride = in.layers * cells;
  const int64_t blocks = std::min(ceil_div(in.n, kPerLane * kRasterThreads), kMaxBlocks);
  const int64_t columns = std::max<int64_t>(kBlocksWanted / (blocks + 1), 1);
  for (int64_t layer = 0; layer < in.layers; ++layer) {
    for (int64_t first = 0; first < in.cameras.count; first += kViewBatch) {
      const int count = static_cast<int>(std::min<int64_t>(in.cameras.count - first, kViewBatch));
      const int of_column = static_cast<int>(ceil_div(count, columns));
      Word64* own = keys + first * stride + layer * cells;
      const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div(count, of_column)));
      launch(splat_rasterize_layer_kernel<kShape>, grid, kRasterThreads, 0, stream, in.points,
             LayerViews{views.views.from(first), own, layer > 0 ? own - cells : nullptr, stride, count, of_column,
                        in.cameras.h, in.cameras.w});
    }
  }
}

struct LayersOnCuda : CudaDevice {
  static void splat_layers(const LayersOperands& in) {
    const OnDevice on(in.xyz);
    Word64* keys = mutable_data<Word64>(in.index);  // in place
    const int64_t entries = in.index.numel();
    const Fill empty{keys, entries * static_cast<int64_t>(sizeof(Word64)), static_cast<uint8_t>(kEmptyKey)};
    const ViewsOnDevice views(in.cameras, in.points.radius, empty, on.stream);
    const auto rasterize = in.points.shape == Shape::kSquare ? rasterize_layers<Shape::kSquare>
                           : in.points.shape == Shape::kDisc ? rasterize_layers<Shape::kDisc>
                                                             : rasterize_layers<Shape::kPoint>;
    rasterize(in, views, keys, on.stream);
    launch(splat_resolve_layers_kernel, blocks_of(entries, kEntryThreads), kEntryThreads, 0, on.stream,
           in.layer_cameras(), entries, mutable_data<uint64_t>(in.index), mutable_data<float>(in.depth),
           mutable_data<float>(in.distance2));
  }

  static void backward_xyz(const LayersGradient& in) {
    if (in.out.numel() == 0) return;
    const OnDevice on(in.xyz);
    fill_bytes(in.out.mutable_data_ptr(), 0, in.out.numel() * sizeof(float), on.stream);
    if (in.index.numel() == 0) return;
    const SortedCells entries(in.index, in.xyz.size(0), on.stream);
    launch(splat_sum_layers_kernel, blocks_of(in.index.numel(), kListThreads), kListThreads, 0, on.stream, entries.list,
           in.layer_cameras(), data<float>(in.grad_depth), data<float>(in.grad_distance2), mutable_data<float>(in.out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_splat_layers<mirage::LayersOnCuda>(m); }
