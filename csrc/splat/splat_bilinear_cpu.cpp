// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "common/float16.h"
#include "splat/splat.h"
#include "splat/splat_bilinear_isa.h"
#include "splat/splat_cpu.h"
#include "torch/parallel.h"

// N points, V views, C channels, grid (h, w).
namespace mirage {
namespace {

constexpr float kMargin = 1.0f;  // cells: a point up to half a cell beside the grid still touches it

int dtype_number(ScalarType dtype) {
  guard(dtype == ScalarType::Float || dtype == ScalarType::BFloat16 || dtype == ScalarType::Half,
        "splat_bilinear: features must be float32, bfloat16 or float16");
  return dtype == ScalarType::Float ? 0 : dtype == ScalarType::BFloat16 ? 1 : 2;
}

SplatPoints points_of(const Tensor& xyz, const OptionalTensor& valid) {
  const int64_t n = xyz.size(0);
  guard(n <= UINT32_MAX, "splat_bilinear: more than 2^32 - 1 points");
  return {data<float>(xyz), data<uint8_t>(valid), nullptr, 0.0f, 0.0f, 0.0f, Shape::kPoint, n, {}};
}

std::unique_ptr<float[]> limits_of(const float* depth, int64_t n, double band) {
  auto limits = std::make_unique_for_overwrite<float[]>(n);
  for (int64_t i = 0; i < n; ++i) limits[i] = blend_limit(depth[i], static_cast<float>(band));
  return limits;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> splat_bilinear(const Tensor& xyz, const Tensor& features,
                                                          const Tensor& intrinsics, const Tensor& world2cam, int64_t h,
                                                          int64_t w, OptionalTensor valid, double band) {
  const int64_t n = xyz.size(0), v = world2cam.size(0), c = features.size(-1), cells = h * w;
  const ScalarType dtype = features.scalar_type();
  const int type = dtype_number(dtype);
  const Tensor dense_xyz = expect(xyz, ScalarType::Float, {n, 3}, "splat_bilinear: xyz must be float32 (N, 3)");
  const Tensor rows = expect(features, dtype, {n, c}, "splat_bilinear: features must be (N, C)");
  const auto views = load_views(intrinsics, world2cam, h, w, kMargin);
  valid = expect(valid, ScalarType::Bool, {n}, "splat_bilinear: valid must be bool (N,)");

  const Tensor out = empty_like(features, {v, c, h, w}, dtype);
  const Tensor depth = empty_like(xyz, {v, h, w}, ScalarType::Float);
  const Tensor index = empty_like(xyz, {v, h, w}, ScalarType::Long);
  const Tensor weight = empty_like(xyz, {v, h, w}, ScalarType::Float);
  const BilinearKernels& kernels = MIRAGE_KERNELS(bilinear_kernels);
  const SplatPoints points = points_of(dense_xyz, valid);
  const Keys keys = fill_keys(kernels.scatter, points, views, static_cast<int>(h), static_cast<int>(w),
                              mutable_data<int64_t>(index));
  join_keys(keys, 0, v * cells);
  MIRAGE_KERNELS(splat_kernels).decode(keys.first, v * cells, mutable_data<float>(depth));
  const auto limits = limits_of(data<float>(depth), v * cells, band);

  // Work is cut into (view, part of its cells). A part meets all points in order, so its sums do not depend on the cut.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(cells, (threads + v - 1) / std::max<int64_t>(v, 1)));
  parallel_for(0, v * parts, 1, [&](int64_t task, int64_t last_task) {
    const auto sums = std::make_unique_for_overwrite<float[]>((cells + parts - 1) / parts * c);
    for (; task < last_task; ++task) {
      const int64_t view = task / parts, part = task % parts;
      const int64_t first = cells * part / parts, last = cells * (part + 1) / parts, at = view * cells + first;
      const BlendGrid grid{static_cast<int>(h), static_cast<int>(w), c, limits.get() + view * cells};
      const BlendSums job{first, last, sums.get(), mutable_data<float>(weight) + at};
      const auto* words = static_cast<const char*>(rows.const_data_ptr());
      auto* to = static_cast<char*>(out.mutable_data_ptr()) + (view * c * cells + first) * features.element_size();
      kernels.mix[type](points, views[view], grid, words, job);
      kernels.finish[type](grid, job, {last - first, cells, keys.first + at, mutable_data<float>(depth) + at, to});
    }
  });
  return {out, depth, index, weight};
}

// maps (V, C, cells) -> float rows (V, cells, C)
template <class T>
void to_rows(const T* maps, int64_t views, int64_t channels, int64_t cells, float* rows) {
  const int64_t groups = (cells + kGroup - 1) / kGroup;
  parallel_for(0, views * groups, 16, [&](int64_t task, int64_t end) {
    for (; task < end; ++task) {
      const int64_t v = task / groups, first = task % groups * kGroup, last = std::min(cells, first + kGroup);
      for (int64_t k = first; k < last; ++k)
        for (int64_t c = 0; c < channels; ++c)
          rows[(v * cells + k) * channels + c] = to_float(maps[(v * channels + c) * cells + k]);
    }
  });
}

std::unique_ptr<float[]> rows_of(const Tensor& maps) {
  const int64_t v = maps.size(0), c = maps.size(1), cells = maps.size(2) * maps.size(3);
  auto rows = std::make_unique_for_overwrite<float[]>(v * c * cells);
  switch (dtype_number(maps.scalar_type())) {
    case 0: to_rows(data<float>(maps), v, c, cells, rows.get()); break;
    case 1: to_rows(data<BFloat16>(maps), v, c, cells, rows.get()); break;
    default: to_rows(data<Float16>(maps), v, c, cells, rows.get()); break;
  }
  return rows;
}

// The arguments that both gradients share, guarded.
struct Backward {
  Tensor grad, xyz, depth, weight;
  OptionalTensor valid;
  std::vector<View> views;
  std::unique_ptr<float[]> limits, rows;
  SplatPoints points;
  BlendGrid grid;
  BlendGradient job;
};

Backward load_backward(const Tensor& grad_features, const Tensor& xyz, const Tensor& intrinsics,
                       const Tensor& world2cam, const OptionalTensor& valid, const Tensor& depth,
                       const Tensor& weight, double band) {
  const int64_t n = xyz.size(0), v = depth.size(0), h = depth.size(1), w = depth.size(2), c = grad_features.size(1);
  guard(world2cam.size(0) == v, "splat_bilinear: world2cam must be float32 (V, 3, 4)");
  Backward b;
  b.grad = expect(grad_features, grad_features.scalar_type(), {v, c, h, w},
                  "splat_bilinear: grad_features must be (V, C, h, w)");
  b.xyz = expect(xyz, ScalarType::Float, {n, 3}, "splat_bilinear: xyz must be float32 (N, 3)");
  b.depth = expect(depth, ScalarType::Float, {v, h, w}, "splat_bilinear: depth must be float32 (V, h, w)");
  b.weight = expect(weight, ScalarType::Float, {v, h, w}, "splat_bilinear: weight must be float32 (V, h, w)");
  b.valid = expect(valid, ScalarType::Bool, {n}, "splat_bilinear: valid must be bool (N,)");
  b.views = load_views(intrinsics, world2cam, h, w, kMargin);
  b.limits = limits_of(data<float>(b.depth), v * h * w, band);
  b.rows = rows_of(b.grad);
  b.points = points_of(b.xyz, b.valid);
  b.grid = {static_cast<int>(h), static_cast<int>(w), c, b.limits.get()};
  b.job = {b.views.data(), static_cast<int>(v), b.rows.get(), data<float>(b.weight), nullptr, 0, 0};
  return b;
}

// Points are independent of each other: blocks of them are shared out between threads.
template <class Run>
void for_blocks(const Backward& b, const Run& run) {
  parallel_for(0, num_blocks(b.points), 8, [&](int64_t first, int64_t last) {
    BlendGradient job = b.job;
    job.first = first;
    job.last = last;
    run(job);
  });
}

Tensor splat_bilinear_backward_features(const Tensor& grad_features, const Tensor& xyz, const Tensor& intrinsics,
                                        const Tensor& world2cam, OptionalTensor valid, const Tensor& depth,
                                        const Tensor& weight, double band) {
  const Backward b = load_backward(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band);
  const int64_t size = xyz.size(0) * b.grid.channels;
  const int type = dtype_number(b.grad.scalar_type());
  const Tensor out = empty_like(b.grad, {xyz.size(0), b.grid.channels}, b.grad.scalar_type());
  const auto scratch = type == 0 ? nullptr : std::make_unique_for_overwrite<float[]>(size);
  float* sums = type == 0 ? mutable_data<float>(out) : scratch.get();
  std::fill_n(sums, size, 0.0f);
  for_blocks(b, [&](const BlendGradient& job) { MIRAGE_KERNELS(bilinear_kernels).spread(b.points, b.grid, job, sums); });
  const auto round = [&](auto* to) {
    parallel_for(0, size, 65536, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) from_float(sums[i], to + i);
    });
  };
  if (type == 1) round(mutable_data<BFloat16>(out));
  if (type == 2) round(mutable_data<Float16>(out));
  return out;
}

Tensor splat_bilinear_backward_xyz(const Tensor& grad_features, const Tensor& blended, const Tensor& xyz,
                                   const Tensor& features, const Tensor& intrinsics, const Tensor& world2cam,
                                   OptionalTensor valid, const Tensor& depth, const Tensor& weight, double band) {
  Backward b = load_backward(grad_features, xyz, intrinsics, world2cam, valid, depth, weight, band);
  const int64_t n = xyz.size(0), c = b.grid.channels, v = b.job.num_views, h = b.grid.h, w = b.grid.w;
  const ScalarType dtype = features.scalar_type();
  const Tensor rows = expect(features, dtype, {n, c}, "splat_bilinear: features must be (N, C)");
  const auto shown = rows_of(expect(blended, dtype, {v, c, h, w}, "splat_bilinear: blended must be (V, C, h, w)"));
  b.job.shown = shown.get();
  const Tensor out = empty_like(b.xyz, {n, 3}, ScalarType::Float);
  std::fill_n(mutable_data<float>(out), 3 * n, 0.0f);
  const auto pull = MIRAGE_KERNELS(bilinear_kernels).pull[dtype_number(dtype)];
  for_blocks(b, [&](const BlendGradient& job) {
    pull(b.points, b.grid, job, rows.const_data_ptr(), mutable_data<float>(out));
  });
  return out;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("splat_bilinear", TORCH_BOX(&mirage::splat_bilinear));
  m.impl("splat_bilinear_backward_features", TORCH_BOX(&mirage::splat_bilinear_backward_features));
  m.impl("splat_bilinear_backward_xyz", TORCH_BOX(&mirage::splat_bilinear_backward_xyz));
}
