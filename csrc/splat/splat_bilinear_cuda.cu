// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "splat/splat_bilinear_backward_kernels.cuh"
#include "splat/splat_bilinear_kernels.cuh"
#include "splat/splat_bilinear_operands.h"
#include "splat/splat_cuda.h"
#include "splat/splat_rows_cuda.h"
#include "torch/cub.h"

namespace mirage {
namespace {

constexpr int64_t kPairBatch = limit_of(1 << 24, 1000);  // of a view and a point, sorted together: 16 bytes each
constexpr int64_t kMaxRowBlocks = limit_of(1 << 16, 3);

// The points by their bases in some views, as PointsByBase, with what keeps it alive.
struct SortedPoints {
  Tensor words, begins_of;
  PointsByBase by_base;

  SortedPoints(const Tensor& like, const Cloud& cloud, const BasesOfViews& bases, cudaStream_t stream) {
    const int64_t n = bases.count * cloud.n, num_bases = bases.count * static_cast<int64_t>(bases.of_view());
    words = new_empty(like, {4, n}, ScalarType::Int);
    begins_of = new_empty(like, {num_bases + 1}, ScalarType::Int);
    uint32_t* at = mutable_data<uint32_t>(words);
    const KeyedValues<uint32_t> pairs{at, at + n}, spare{at + 2 * n, at + 3 * n};
    launch(splat_bilinear_find_bases_kernel, blocks_of(cloud.n, kBaseThreads), kBaseThreads, 0, stream, cloud, bases,
           pairs.keys, pairs.values);
    const auto sorted = sort_pairs(like, pairs, spare, n, bits_of(num_bases), stream);
    uint32_t* begins = mutable_data<uint32_t>(begins_of);
    launch(splat_bilinear_find_lists_kernel, blocks_of(num_bases + 1, kBaseThreads), kBaseThreads, 0, stream,
           sorted.keys, n, num_bases, begins);
    by_base = {sorted.values, begins};
  }
};

// How many views are sorted together: as many as the workspace is to hold, and 32 bits can number.
int64_t view_batch(int64_t n, int64_t views, int64_t h, int64_t w) {
  const int64_t bases = (h + 1) * (w + 1);
  guard(bases < UINT32_MAX, "splat_bilinear: bad grid size");
  return std::clamp<int64_t>(std::min(kPairBatch / std::max<int64_t>(n, 1), (UINT32_MAX - 1) / bases), 1, views);
}

struct BilinearOnCuda : CudaDevice {
  static void splat(const BilinearOperands& in) {
    const int64_t v = in.cameras.count;
    if (v == 0) return;
    const OnDevice on(in.xyz);
    Word64* keys = mutable_data<Word64>(in.index);  // in place
    const ViewsOnDevice views(in.cameras, kCornerMargin, init_zbuffer(in.cameras, keys), on.stream);
    rasterize_corners(in.points, in.cameras, views, keys, on.stream);
    const int64_t batch = view_batch(in.points.n, v, in.cameras.h, in.cameras.w);
    for (int64_t first = 0; first < v; first += batch) {
      const int count = static_cast<int>(std::min(batch, v - first));
      blend(in, {views.views.cameras + first, count, in.cameras.h, in.cameras.w}, first, on.stream);
    }
  }

  static void backward_features(const BilinearGradient& in, const Tensor& out) {
    if (out.numel() == 0) return;
    const OnDevice on(in.xyz);
    const ViewsOnDevice views(in.cameras, kCornerMargin, Fill{}, on.stream);
    const Tensor rows = rows_of(in.grad, on.stream);
    with_type(in.grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_bilinear_backward_features_kernel<T>, blocks(in), kRowThreads, 0, on.stream, in.points,
             blended_views(in, views), data<T>(rows), in.channels(), mutable_data<T>(out));
    });
  }

  static void backward_xyz(const BilinearGradient& in, const Tensor& features, const Tensor& blended,
                           const Tensor& out) {
    if (in.points.n == 0) return;
    const OnDevice on(in.xyz);
    const ViewsOnDevice views(in.cameras, kCornerMargin, Fill{}, on.stream);
    const Tensor grad = rows_of(in.grad, on.stream), of_cells = rows_of(blended, on.stream);
    with_type(features.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_bilinear_backward_xyz_kernel<T>, blocks(in), kRowThreads, 0, on.stream, in.points,
             blended_views(in, views),
             BlendedRows<T>{data<T>(grad), data<T>(of_cells), data<T>(features), in.channels()},
             mutable_data<float>(out));
    });
  }

 private:
  // The views from `first` on.
  static void blend(const BilinearOperands& in, const BasesOfViews& bases, int64_t first, cudaStream_t stream) {
    const int64_t c = in.features.size(1), cells = in.cameras.cells();
    const SortedPoints sorted(in.xyz, in.points, bases, stream);
    const BlendedCells of_cells{mutable_data<uint64_t>(in.index) + first * cells,
                                mutable_data<float>(in.depth) + first * cells,
                                mutable_data<float>(in.weight) + first * cells, in.band};
    with_type(in.features.scalar_type(), [&](auto type) {
      using T = decltype(type);
      T* maps = mutable_data<T>(in.out) + first * c * cells;
      Features f = plan_tiles<T>(c, maps, cells, data<T>(in.features), c);
      f.depth = static_cast<int32_t>(std::min<int64_t>(c, kChannelBatch));
      launch(splat_bilinear_blend_kernel<T>, blocks_of(bases.count * ceil_div(cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<T>(f), stream, in.points, bases, sorted.by_base, f, data<T>(in.features), of_cells, maps);
    });
  }

  static BlendedViews blended_views(const BilinearGradient& in, const ViewsOnDevice& views) {
    return {views.views.cameras,   in.cameras.count,       in.cameras.h, in.cameras.w,
            data<float>(in.depth), data<float>(in.weight), in.band};
  }
  static unsigned blocks(const BilinearGradient& in) {
    return static_cast<unsigned>(std::min(ceil_div(in.points.n, kRowWarps), kMaxRowBlocks));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_splat_bilinear<mirage::BilinearOnCuda>(m); }
