// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "cpu/tile.h"
#include "torch/parallel.h"
#include "torch/tensor.h"
#include "unproject/unproject_isa.h"

// B depth maps (H, W), features (B, C, h, w), N = B h w cells, batch-major and row-major.
namespace mirage {
namespace {

struct Inputs {
  Tensor depth, intrinsics, cam2world;
  OptionalTensor mask;
  int64_t batch;
  Grid grid;
  PoolRule rule;

  Inputs(const Tensor& depth_, const Tensor& intrinsics_, const Tensor& cam2world_, const OptionalTensor& mask_,
         int64_t h, int64_t w, int64_t pooling, int64_t min_valid, double max_masked)
      : batch(depth_.size(0)), grid{h, w}, rule{static_cast<Pooling>(pooling), min_valid, max_masked} {
    guard(h > 0 && w > 0 && h <= INT32_MAX / w, "unproject: bad grid size");
    guard(pooling >= 0 && pooling <= 3, "unproject: unknown pooling");
    depth = expect(depth_, ScalarType::Float, {batch, -1, -1}, "unproject: depth must be float32 (B, H, W)");
    guard(height() > 0 && width() > 0 && height() <= INT32_MAX / width(), "unproject: bad depth size");
    intrinsics = expect(intrinsics_, ScalarType::Float, {batch, 3, 3}, "unproject: intrinsics must be (B, 3, 3)");
    cam2world = expect(cam2world_, ScalarType::Float, {batch, 4, 4}, "unproject: cam2world must be (B, 4, 4)");
    mask = expect(mask_, ScalarType::Bool, {batch, height(), width()}, "unproject: mask must be bool (B, H, W)");
  }

  int64_t height() const { return depth.size(1); }
  int64_t width() const { return depth.size(2); }
  int64_t cells() const { return grid.h * grid.w; }
  Rigid pose(int64_t b) const { return load_rigid(data<float>(cam2world) + 16 * b); }
  Pinhole pinhole(int64_t b) const { return load_pinhole(data<float>(intrinsics) + 9 * b); }

  DepthMap map(int64_t b) const {
    const int64_t at = b * height() * width();
    return {data<float>(depth) + at, mask ? data<uint8_t>(mask) + at : nullptr, height(), width()};
  }

  // The most pixels any one cell can own.
  int64_t scratch() const { return (height() / grid.h + 2) * (width() / grid.w + 2); }

  // Calls row(b, i, scratch) for every row of cells, in parallel.
  template <class Row>
  void each_row(const Row& row) const {
    const int64_t pixels = height() * width() / grid.h + grid.w;
    parallel_for(0, batch * grid.h, std::max<int64_t>(1, 16384 / (pixels + 1)),
                                [&](int64_t begin, int64_t end) {
      const auto buffer = std::make_unique_for_overwrite<uint32_t[]>(scratch());
      for (int64_t r = begin; r < end; ++r) row(r / grid.h, r % grid.h, buffer.get());
    });
  }
};

// One row of cells: (C, w) out of (C, h w) to (w, C), and zeros where a cell is invalid.
template <class Word>
void move_features(const Word* from, int64_t channels, int64_t cells, int64_t w, const uint8_t* valid, Word* to) {
  for (int64_t c = 0; c < channels; c += kTile<Word>) {
    const Word* rows[kTile<Word>];
    const int64_t count = std::min<int64_t>(kTile<Word>, channels - c);
    for (int64_t r = 0; r < count; ++r) rows[r] = from + (c + r) * cells;
    transpose<Word>(rows, count, w, to + c, channels);
  }
  for (int64_t j = 0; j < w; ++j)
    if (!valid[j]) std::fill_n(to + j * channels, channels, Word{0});
}

std::tuple<Tensor, Tensor, Tensor, Tensor> unproject(const Tensor& depth, const Tensor& features,
                                                     const Tensor& intrinsics, const Tensor& cam2world,
                                                     OptionalTensor mask, int64_t pooling, int64_t min_valid,
                                                     double max_masked) {
  const int64_t c = features.size(1), h = features.size(2), w = features.size(3);
  const Inputs in(depth, intrinsics, cam2world, mask, h, w, pooling, min_valid, max_masked);
  const Tensor maps = expect(features, features.scalar_type(), {in.batch, c, h, w}, "unproject: bad features");
  const int64_t n = in.batch * in.cells();
  const Tensor xyz = empty_like(depth, {n, 3}, ScalarType::Float);
  const Tensor rows = empty_like(features, {n, c}, features.scalar_type());
  const Tensor valid = empty_like(depth, {n}, ScalarType::Bool);
  const Tensor footprint = empty_like(depth, {n}, ScalarType::Float);

  const UnprojectKernels& kernels = MIRAGE_KERNELS(unproject_kernels);
  const auto run = [&](auto word) {
    using Word = decltype(word);
    in.each_row([&](int64_t b, int64_t i, uint32_t* scratch) {
      const int64_t at = b * in.cells() + i * w;
      float* z = mutable_data<float>(footprint) + at;  // holds the row's depths until they are lifted
      kernels.pool_row(in.map(b), in.rule, in.grid, i, scratch, z, nullptr);
      uint8_t* ok = mutable_data<uint8_t>(valid) + at;
      kernels.lift_row(in.pose(b), in.pinhole(b), i, w, z, mutable_data<float>(xyz) + 3 * at, z, ok);
      move_features<Word>(data<Word>(maps) + b * c * in.cells() + i * w, c, in.cells(), w, ok,
                          mutable_data<Word>(rows) + at * c);
    });
  };
  switch (features.element_size()) {
    case 2: run(uint16_t{}); break;
    case 4: run(uint32_t{}); break;
    default: guard(false, "unproject: features must be float32, bfloat16 or float16");
  }
  return {xyz, rows, valid, footprint};
}

// grad (N, C) -> (B, C, h, w): the transpose back, zeros where a cell is invalid.
Tensor unproject_backward_features(const Tensor& grad, const Tensor& valid, int64_t b, int64_t h, int64_t w) {
  const int64_t c = grad.size(1), cells = h * w;
  guard(b >= 0 && h > 0 && w > 0, "unproject: bad grid size");
  const Tensor rows = expect(grad, grad.scalar_type(), {b * cells, c}, "unproject: grad_features must be (N, C)");
  const Tensor ok = expect(valid, ScalarType::Bool, {b * cells}, "unproject: valid must be bool (N,)");
  const Tensor out = empty_like(grad, {b, c, h, w}, grad.scalar_type());
  const auto run = [&](auto word) {
    using Word = decltype(word);
    const std::vector<Word> zeros(c);
    parallel_for(0, b * h, std::max<int64_t>(1, 32768 / (w * c + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        Word* to = mutable_data<Word>(out) + (r / h) * c * cells + (r % h) * w;
        for (int64_t j = 0; j < w; j += kTile<Word>) {
          const Word* from[kTile<Word>];
          const int64_t count = std::min<int64_t>(kTile<Word>, w - j);
          for (int64_t k = 0; k < count; ++k)
            from[k] = data<uint8_t>(ok)[r * w + j + k] ? data<Word>(rows) + (r * w + j + k) * c : zeros.data();
          transpose<Word>(from, count, c, to + j, cells);
        }
      }
    });
  };
  switch (grad.element_size()) {
    case 2: run(uint16_t{}); break;
    case 4: run(uint32_t{}); break;
    default: guard(false, "unproject: grad_features must be float32, bfloat16 or float16");
  }
  return out;
}

// To the one pixel each valid cell was read from, or to its four taps; (B, H, W).
Tensor unproject_backward_depth(const Tensor& grad_xyz, const Tensor& grad_footprint, const Tensor& valid,
                                const Tensor& depth, const Tensor& intrinsics, const Tensor& cam2world,
                                OptionalTensor mask, int64_t h, int64_t w, int64_t pooling, int64_t min_valid,
                                double max_masked) {
  const Inputs in(depth, intrinsics, cam2world, mask, h, w, pooling, min_valid, max_masked);
  const int64_t n = in.batch * in.cells();
  const Tensor gxyz = expect(grad_xyz, ScalarType::Float, {n, 3}, "unproject: grad_xyz must be float32 (N, 3)");
  const Tensor gfoot = expect(grad_footprint, ScalarType::Float, {n}, "unproject: grad_footprint must be (N,)");
  const Tensor ok = expect(valid, ScalarType::Bool, {n}, "unproject: valid must be bool (N,)");
  const Tensor out = empty_like(depth, {in.batch, in.height(), in.width()}, ScalarType::Float);
  const int64_t pixels = in.height() * in.width();
  const auto dz = std::make_unique_for_overwrite<float[]>(n);
  const auto pixel = std::make_unique_for_overwrite<int64_t[]>(n);
  const UnprojectKernels& kernels = MIRAGE_KERNELS(unproject_kernels);
  in.each_row([&](int64_t b, int64_t i, uint32_t* scratch) {
    const int64_t at = b * in.cells() + i * w;
    kernels.pool_row(in.map(b), in.rule, in.grid, i, scratch, dz.get() + at, pixel.get() + at);
    for (int64_t k = at; k < at + w; ++k) {
      const float* g = data<float>(gxyz) + 3 * k;
      dz[k] = lift_cell_backward(in.pose(b), in.pinhole(b), static_cast<int>(i), static_cast<int>(k - at), g[0], g[1],
                                 g[2], data<float>(gfoot)[k]);
    }
  });
  float* sums = mutable_data<float>(out);
  std::fill_n(sums, in.batch * pixels, 0.0f);
  for (int64_t k = 0; k < n; ++k) {  // in cell order: bilinear taps of neighbours meet in one pixel
    if (!data<uint8_t>(ok)[k]) continue;
    float* map = sums + k / in.cells() * pixels;
    if (in.rule.pooling != Pooling::kBilinear) {
      guard(pixel[k] >= 0, "unproject: valid does not belong to this depth");
      map[pixel[k]] += dz[k];
      continue;
    }
    const Taps down = taps_of(k % in.cells() / w, h, in.height()), across = taps_of(k % w, w, in.width());
    float* top = map + down.first * in.width();
    float* bottom = map + down.second * in.width();
    top[across.first] += dz[k] * ((1.0f - across.weight) * (1.0f - down.weight));
    top[across.second] += dz[k] * (across.weight * (1.0f - down.weight));
    bottom[across.first] += dz[k] * ((1.0f - across.weight) * down.weight);
    bottom[across.second] += dz[k] * (across.weight * down.weight);
  }
  return out;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("unproject", TORCH_BOX(&mirage::unproject));
  m.impl("unproject_backward_features", TORCH_BOX(&mirage::unproject_backward_features));
  m.impl("unproject_backward_depth", TORCH_BOX(&mirage::unproject_backward_depth));
}
