// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <tuple>

#include "torch/cuda.h"
#include "unproject/unproject_kernels.cuh"

namespace mirage {
namespace {

struct Inputs {
  Tensor depth, intrinsics, cam2world;
  OptionalTensor mask;
  MapsOfDepth maps;

  Inputs(const Tensor& depth_, const Tensor& intrinsics_, const Tensor& cam2world_, const OptionalTensor& mask_,
         int64_t h, int64_t w, int64_t pooling, int64_t min_valid, double max_masked) {
    guard(h > 0 && w > 0 && h <= INT32_MAX / w, "unproject: bad grid size");
    guard(pooling >= 0 && pooling <= 3, "unproject: unknown pooling");
    guard_device(depth_, {&intrinsics_, &cam2world_, pointer_to(mask_)});
    const int64_t b = depth_.size(0);
    depth = expect(depth_, ScalarType::Float, {b, -1, -1}, "unproject: depth must be float32 (B, H, W)");
    const int64_t height = depth.size(1), width = depth.size(2);
    guard(height > 0 && width > 0 && height <= INT32_MAX / width, "unproject: bad depth size");
    intrinsics = expect(intrinsics_, ScalarType::Float, {b, 3, 3}, "unproject: intrinsics must be (B, 3, 3)");
    cam2world = expect(cam2world_, ScalarType::Float, {b, 4, 4}, "unproject: cam2world must be (B, 4, 4)");
    mask = expect(mask_, ScalarType::Bool, {b, height, width}, "unproject: mask must be bool (B, H, W)");
    maps = {data<float>(depth), data<uint8_t>(mask), data<float>(intrinsics), data<float>(cam2world), height, width,
            {h, w}, {static_cast<Pooling>(pooling), min_valid, max_masked}};
  }

  int64_t batch() const { return depth.size(0); }
  int64_t cells() const { return batch() * maps.grid.h * maps.grid.w; }
};

std::tuple<Tensor, Tensor, Tensor, Tensor> unproject(const Tensor& depth, const Tensor& features,
                                                     const Tensor& intrinsics, const Tensor& cam2world,
                                                     OptionalTensor mask, int64_t pooling, int64_t min_valid,
                                                     double max_masked) {
  const int64_t c = features.size(1), h = features.size(2), w = features.size(3);
  guard_device(depth, {&features});
  const Inputs in(depth, intrinsics, cam2world, mask, h, w, pooling, min_valid, max_masked);
  const Tensor from = expect(features, features.scalar_type(), {in.batch(), c, h, w}, "unproject: bad features");
  const int64_t n = in.cells();
  const Tensor xyz = empty_like(depth, {n, 3}, ScalarType::Float);
  const Tensor rows = empty_like(features, {n, c}, features.scalar_type());
  const Tensor valid = empty_like(depth, {n}, ScalarType::Bool);
  const Tensor footprint = empty_like(depth, {n}, ScalarType::Float);
  const OnDevice on(depth);
  const LiftedCells out{mutable_data<float>(xyz), mutable_data<uint8_t>(valid), mutable_data<float>(footprint)};
  const auto run = [&](auto word) {
    using Word = decltype(word);
    const Features f = plan_tiles<Word>(c, data<Word>(from), h * w, data<Word>(rows), h * w * c);
    launch(unproject_tile<Word>, blocks_of(in.batch() * ceil_div(h * w, kTileCells), 1), kTileThreads,
           bytes_of_tile<Word>(f), on.stream, in.maps, f, data<Word>(from), out, mutable_data<Word>(rows));
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
  guard_device(grad, {&valid});
  const Tensor rows = expect(grad, grad.scalar_type(), {b * cells, c}, "unproject: grad_features must be (N, C)");
  const Tensor ok = expect(valid, ScalarType::Bool, {b * cells}, "unproject: valid must be bool (N,)");
  const Tensor out = empty_like(grad, {b, c, h, w}, grad.scalar_type());
  if (b * c == 0) return out;
  const OnDevice on(grad);
  const auto run = [&](auto word) {
    using Word = decltype(word);
    const Features f = plan_tiles<Word>(c, data<Word>(out), cells, data<Word>(rows), cells * c);
    launch(unproject_features_backward<Word>, blocks_of(b * ceil_div(cells, kTileCells), 1), kTileThreads,
           bytes_of_tile<Word>(f), on.stream, f, cells, data<Word>(rows), data<uint8_t>(ok), mutable_data<Word>(out));
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
  guard_device(depth, {&grad_xyz, &grad_footprint, &valid});
  const int64_t n = in.cells();
  const Tensor gxyz = expect(grad_xyz, ScalarType::Float, {n, 3}, "unproject: grad_xyz must be float32 (N, 3)");
  const Tensor gfoot = expect(grad_footprint, ScalarType::Float, {n}, "unproject: grad_footprint must be (N,)");
  const Tensor ok = expect(valid, ScalarType::Bool, {n}, "unproject: valid must be bool (N,)");
  const Tensor out = empty_like(depth, {in.batch(), in.maps.height, in.maps.width}, ScalarType::Float);
  if (n == 0) return out;
  const OnDevice on(depth);
  float* sums = mutable_data<float>(out);
  const GradientOfCells g{data<float>(gxyz), data<float>(gfoot), data<uint8_t>(ok)};
  const auto grid = [&](int64_t of_map, int64_t per_block) {
    return blocks_of(in.batch() * ceil_div(of_map, per_block), 1);
  };
  const int64_t cells = h * w, pixels = in.maps.height * in.maps.width;
  if (in.maps.rule.pooling == Pooling::kBilinear) {
    const Tensor dz = empty_like(depth, {n}, ScalarType::Float);
    launch(unproject_cells_backward, grid(cells, kTileThreads), kTileThreads, 0, on.stream, in.maps, g,
           mutable_data<float>(dz));
    launch(unproject_bilinear_backward, grid(pixels, kTileThreads), kTileThreads, 0, on.stream, in.maps,
           data<float>(dz), g.valid, sums);
  } else {
    fill_bytes(sums, 0, in.batch() * pixels * sizeof(float), on.stream);
    launch(unproject_depth_backward, grid(cells, kTileWarps), kTileThreads, 0, on.stream, in.maps, g, sums);
  }
  return out;
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("unproject", TORCH_BOX(&mirage::unproject));
  m.impl("unproject_backward_features", TORCH_BOX(&mirage::unproject_backward_features));
  m.impl("unproject_backward_depth", TORCH_BOX(&mirage::unproject_backward_depth));
}
