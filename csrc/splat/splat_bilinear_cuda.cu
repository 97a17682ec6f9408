// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include "splat/splat_bilinear_backward_kernels.cuh"
#include "splat/splat_bilinear_kernels.cuh"
#include "splat/splat_cuda.h"
#include "splat/splat_rows_cuda.h"
#include "torch/cub.h"

// N points, V views, C channels, grid (h, w).
namespace mirage {
namespace {

constexpr const char* kBadDtype = "splat_bilinear: features must be float32, bfloat16 or float16";
constexpr int64_t kPairsAtOnce = limit_of(1 << 24, 1000);  // of a view and a point, sorted together: 16 bytes each
constexpr int64_t kMostRowBlocks = limit_of(1 << 16, 3);

Cloud cloud_of(const Tensor& xyz, const OptionalTensor& valid) {
  guard(xyz.size(0) <= UINT32_MAX, "splat_bilinear: more than 2^32 - 1 points");
  return {data<float>(xyz), data<uint8_t>(valid), nullptr, 0.0f, 0.0f, 0.0f, xyz.size(0)};
}

// The points by their bases in some views, as PointsByBase, with what keeps it alive.
struct SortedPoints {
  Tensor words, begins_of;
  PointsByBase by_base;

  SortedPoints(const Tensor& like, const Cloud& cloud, const BasesOfViews& bases, cudaStream_t stream) {
    const int64_t n = bases.count * cloud.n, num_bases = bases.count * static_cast<int64_t>(bases.of_view());
    words = empty_like(like, {4, n}, ScalarType::Int);
    begins_of = empty_like(like, {num_bases + 1}, ScalarType::Int);
    uint32_t* at = mutable_data<uint32_t>(words);
    const KeyedValues<uint32_t> pairs{at, at + n}, spare{at + 2 * n, at + 3 * n};
    launch(find_bases, blocks_of(cloud.n, kBaseThreads), kBaseThreads, 0, stream, cloud, bases, pairs.keys,
           pairs.values);
    const auto sorted = sort_pairs(like, pairs, spare, n, bits_of(num_bases), stream);
    uint32_t* begins = mutable_data<uint32_t>(begins_of);
    launch(find_lists, blocks_of(num_bases + 1, kBaseThreads), kBaseThreads, 0, stream, sorted.keys, n, num_bases,
           begins);
    by_base = {sorted.values, begins};
  }
};

// How many views are sorted together: as many as the workspace is to hold, and 32 bits can number.
int64_t views_at_once(int64_t n, int64_t views, int64_t h, int64_t w) {
  const int64_t bases = (h + 1) * (w + 1);
  guard(bases < UINT32_MAX, "splat_bilinear: bad grid size");
  return std::clamp<int64_t>(std::min(kPairsAtOnce / std::max<int64_t>(n, 1), (UINT32_MAX - 1) / bases), 1, views);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> splat_bilinear(const Tensor& xyz, const Tensor& features,
                                                          const Tensor& intrinsics, const Tensor& world2cam, int64_t h,
                                                          int64_t w, OptionalTensor valid, double band) {
  const int64_t n = xyz.size(0), c = features.size(-1), cells = h * w;
  const ScalarType dtype = features.scalar_type();
  guard_device(xyz, {&features, &intrinsics, &world2cam, pointer_to(valid)});
  const Tensor dense_xyz = expect(xyz, ScalarType::Float, {n, 3}, "splat_bilinear: xyz must be float32 (N, 3)");
  const Tensor rows = expect(features, dtype, {n, c}, "splat_bilinear: features must be (N, C)");
  const CamerasOnDevice cameras(intrinsics, world2cam, h, w);
  valid = expect(valid, ScalarType::Bool, {n}, "splat_bilinear: valid must be bool (N,)");

  const int64_t v = cameras.count;
  const Tensor out = empty_like(features, {v, c, h, w}, dtype);
  const Tensor depth = empty_like(xyz, {v, h, w}, ScalarType::Float);
  const Tensor index = empty_like(xyz, {v, h, w}, ScalarType::Long);
  const Tensor weight = empty_like(xyz, {v, h, w}, ScalarType::Float);
  if (v == 0) return {out, depth, index, weight};
  const OnDevice on(xyz);
  const Cloud cloud = cloud_of(dense_xyz, valid);
  Word64* keys = mutable_data<Word64>(index);  // in place
  const ViewsOnDevice views(cameras, kCornerMargin, empty_keys(cameras, keys), on.stream);
  draw_corners(cloud, cameras, views, keys, on.stream);
  const int64_t at_once = views_at_once(n, v, h, w);
  for (int64_t first = 0; first < v; first += at_once) {
    const int count = static_cast<int>(std::min(at_once, v - first));
    const BasesOfViews bases{views.views.cameras + first, count, cameras.h, cameras.w};
    const SortedPoints sorted(xyz, cloud, bases, on.stream);
    const MixedCells mixed{mutable_data<int64_t>(index) + first * cells, mutable_data<float>(depth) + first * cells,
                           mutable_data<float>(weight) + first * cells, static_cast<float>(band)};
    with_type(dtype, kBadDtype, [&](auto type) {
      using T = decltype(type);
      T* maps = mutable_data<T>(out) + first * c * cells;
      Features f = plan_tiles<T>(c, maps, cells, data<T>(rows), c);
      f.depth = static_cast<int32_t>(std::min<int64_t>(c, kChannelsAtOnce));
      launch(mix<T>, blocks_of(count * ceil_div(cells, kTileCells), 1), kTileThreads, bytes_of_tile<T>(f), on.stream,
             cloud, bases, sorted.by_base, f, data<T>(rows), mixed, maps);
    });
  }
  return {out, depth, index, weight};
}

// The arguments that both gradients share, guarded.
struct Backward {
  Tensor grad, xyz, depth, weight;
  OptionalTensor valid;
  CamerasOnDevice cameras;
  float band;

  Backward(const Tensor& grad_features, const Tensor& xyz_, const Tensor& intrinsics, const Tensor& world2cam,
           const OptionalTensor& valid_, const Tensor& depth_, const Tensor& weight_, double band_)
      : cameras(intrinsics, world2cam, depth_.size(1), depth_.size(2)), band(static_cast<float>(band_)) {
    const int64_t n = xyz_.size(0), v = depth_.size(0), h = cameras.h, w = cameras.w, c = grad_features.size(1);
    guard(cameras.count == v, "splat_bilinear: world2cam must be float32 (V, 3, 4)");
    guard_device(xyz_, {&grad_features, &intrinsics, &world2cam, pointer_to(valid_), &depth_, &weight_});
    grad = expect(grad_features, grad_features.scalar_type(), {v, c, h, w},
                  "splat_bilinear: grad_features must be (V, C, h, w)");
    xyz = expect(xyz_, ScalarType::Float, {n, 3}, "splat_bilinear: xyz must be float32 (N, 3)");
    depth = expect(depth_, ScalarType::Float, {v, h, w}, "splat_bilinear: depth must be float32 (V, h, w)");
    weight = expect(weight_, ScalarType::Float, {v, h, w}, "splat_bilinear: weight must be float32 (V, h, w)");
    valid = expect(valid_, ScalarType::Bool, {n}, "splat_bilinear: valid must be bool (N,)");
  }

  BlendedViews blended(const ViewsOnDevice& views) const {
    return {views.views.cameras, cameras.count, cameras.h, cameras.w, data<float>(depth), data<float>(weight), band};
  }
  unsigned blocks() const {
    return static_cast<unsigned>(std::min(ceil_div(xyz.size(0), kRowWarps), kMostRowBlocks));
  }
};

Tensor splat_bilinear_backward_features(const Tensor& grad_features, const Tensor& xyz, const Tensor& intrinsics,
                                        const Tensor& world2cam, OptionalTensor valid, const Tensor& depth,
                                        const Tensor& weight, double band) {
  const Backward b(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band);
  const int64_t c = b.grad.size(1);
  const Tensor out = empty_like(b.grad, {xyz.size(0), c}, b.grad.scalar_type());
  if (out.numel() == 0) return out;
  const OnDevice on(xyz);
  const ViewsOnDevice views(b.cameras, kCornerMargin, Fill{}, on.stream);
  const Tensor rows = rows_of(b.grad, on.stream);
  with_type(b.grad.scalar_type(), kBadDtype, [&](auto type) {
    using T = decltype(type);
    launch(spread<T>, b.blocks(), kRowThreads, 0, on.stream, cloud_of(b.xyz, b.valid), b.blended(views), data<T>(rows),
           c, mutable_data<T>(out));
  });
  return out;
}

Tensor splat_bilinear_backward_xyz(const Tensor& grad_features, const Tensor& blended, const Tensor& xyz,
                                   const Tensor& features, const Tensor& intrinsics, const Tensor& world2cam,
                                   OptionalTensor valid, const Tensor& depth, const Tensor& weight, double band) {
  const Backward b(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band);
  const int64_t n = xyz.size(0), c = b.grad.size(1), v = b.cameras.count, h = b.cameras.h, w = b.cameras.w;
  const ScalarType dtype = b.grad.scalar_type();
  guard_device(xyz, {&features, &blended});
  const Tensor rows = expect(features, dtype, {n, c}, "splat_bilinear: features must be (N, C)");
  const Tensor maps = expect(blended, dtype, {v, c, h, w}, "splat_bilinear: blended must be (V, C, h, w)");
  const Tensor out = empty_like(b.xyz, {n, 3}, ScalarType::Float);
  if (n == 0) return out;
  const OnDevice on(xyz);
  const ViewsOnDevice views(b.cameras, kCornerMargin, Fill{}, on.stream);
  const Tensor grad = rows_of(b.grad, on.stream), shown = rows_of(maps, on.stream);
  with_type(dtype, kBadDtype, [&](auto type) {
    using T = decltype(type);
    launch(pull<T>, b.blocks(), kRowThreads, 0, on.stream, cloud_of(b.xyz, b.valid), b.blended(views),
           BlendedRows<T>{data<T>(grad), data<T>(shown), data<T>(rows), c}, mutable_data<float>(out));
  });
  return out;
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("splat_bilinear", TORCH_BOX(&mirage::splat_bilinear));
  m.impl("splat_bilinear_backward_features", TORCH_BOX(&mirage::splat_bilinear_backward_features));
  m.impl("splat_bilinear_backward_xyz", TORCH_BOX(&mirage::splat_bilinear_backward_xyz));
}
