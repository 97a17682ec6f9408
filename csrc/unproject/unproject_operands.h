// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "torch/dtypes.h"
#include "torch/tensor.h"
#include "unproject/unproject.h"

// unproject and its gradients, on any device. B depth maps (H, W), features (B, C, h, w), N = B h w cells, batch-major
// and row-major.
namespace mirage {

inline void guard_grid(int64_t h, int64_t w) {
  guard(h > 0 && w > 0 && h <= INT32_MAX / w, "unproject: bad grid size");
}

inline Tensor expect_valid(const Tensor& valid, int64_t n) {
  return expect(valid, ScalarType::Bool, {n}, "unproject: valid must be bool (N,)");
}

// Checked inputs.
struct UnprojectOperands {
  int64_t batch, height, width;
  Tensor depth, intrinsics, cam2world;
  OptionalTensor mask;
  DepthMaps maps;

  UnprojectOperands(const Tensor& depth_, const Tensor& intrinsics_, const Tensor& cam2world_,
                    const OptionalTensor& mask_, int64_t h, int64_t w, int64_t pooling, int64_t min_valid,
                    double max_masked)
      : batch(depth_.size(0)), height(depth_.size(-2)), width(depth_.size(-1)),
        depth(expect(depth_, ScalarType::Float, {batch, height, width}, "unproject: depth must be float32 (B, H, W)")),
        intrinsics(expect(intrinsics_, ScalarType::Float, {batch, 3, 3}, "unproject: intrinsics must be (B, 3, 3)")),
        cam2world(expect(cam2world_, ScalarType::Float, {batch, 4, 4}, "unproject: cam2world must be (B, 4, 4)")),
        mask(expect(mask_, ScalarType::Bool, {batch, height, width}, "unproject: mask must be bool (B, H, W)")),
        maps{data<float>(depth),
             data<uint8_t>(mask),
             data<float>(intrinsics),
             data<float>(cam2world),
             height,
             width,
             {h, w},
             {static_cast<Pooling>(pooling), min_valid, max_masked}} {
    guard_grid(h, w);
    guard(height > 0 && width > 0 && height <= INT32_MAX / width, "unproject: bad depth size");
    guard(pooling >= 0 && pooling <= 3, "unproject: unknown pooling");
  }

  int64_t cells() const { return batch * maps.cells(); }
};

struct UnprojectResult {
  Tensor xyz, features, valid, footprint;  // (N, 3), (N, C), (N,), (N,)

  UnprojectResult(const UnprojectOperands& in, const Tensor& like)
      : xyz(new_empty(in.depth, {in.cells(), 3}, ScalarType::Float)),
        features(new_empty(like, {in.cells(), like.size(1)}, like.scalar_type())),
        valid(new_empty(in.depth, {in.cells()}, ScalarType::Bool)),
        footprint(new_empty(in.depth, {in.cells()}, ScalarType::Float)) {}
};

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor> unproject(const Tensor& depth, const Tensor& features,
                                                     const Tensor& intrinsics, const Tensor& cam2world,
                                                     OptionalTensor mask, int64_t pooling, int64_t min_valid,
                                                     double max_masked) {
  const int64_t c = features.size(1), h = features.size(2), w = features.size(3);
  Device::guard_device(depth, {&features, &intrinsics, &cam2world, pointer_to(mask)});
  const UnprojectOperands in(depth, intrinsics, cam2world, mask, h, w, pooling, min_valid, max_masked);
  const Tensor maps = expect(features, features.scalar_type(), {in.batch, c, h, w}, "unproject: bad features");
  const UnprojectResult out(in, maps);
  Device::unproject(in, maps, out);
  return {out.xyz, out.features, out.valid, out.footprint};
}

// grad (N, C) -> (B, C, h, w): the transpose of the forward's, zeros where a cell is invalid.
template <class Device>
Tensor unproject_backward_features(const Tensor& grad, const Tensor& valid, int64_t b, int64_t h, int64_t w) {
  Device::guard_device(grad, {&valid});
  guard_grid(h, w);
  guard(b >= 0 && b <= INT64_MAX / (h * w), "unproject: bad batch size");
  const int64_t c = grad.size(1), n = b * h * w;
  const Tensor rows = expect(grad, grad.scalar_type(), {n, c}, "unproject: grad_features must be (N, C)");
  const Tensor of_cells = expect_valid(valid, n);
  const Tensor out = new_empty(grad, {b, c, h, w}, grad.scalar_type());
  if (out.numel() > 0) Device::backward_features(rows, of_cells, out);
  return out;
}

struct CellGradients {
  Tensor xyz, footprint, valid;  // (N, 3), (N,), (N,)

  CellGradients(const Tensor& grad_xyz, const Tensor& grad_footprint, const Tensor& valid_, int64_t n)
      : xyz(expect(grad_xyz, ScalarType::Float, {n, 3}, "unproject: grad_xyz must be float32 (N, 3)")),
        footprint(expect(grad_footprint, ScalarType::Float, {n}, "unproject: grad_footprint must be (N,)")),
        valid(expect_valid(valid_, n)) {}
};

// To the pixel that each valid cell was read from, or to its four taps; (B, H, W).
template <class Device>
Tensor unproject_backward_depth(const Tensor& grad_xyz, const Tensor& grad_footprint, const Tensor& valid,
                                const Tensor& depth, const Tensor& intrinsics, const Tensor& cam2world,
                                OptionalTensor mask, int64_t h, int64_t w, int64_t pooling, int64_t min_valid,
                                double max_masked) {
  Device::guard_device(depth, {&grad_xyz, &grad_footprint, &valid, &intrinsics, &cam2world, pointer_to(mask)});
  const UnprojectOperands in(depth, intrinsics, cam2world, mask, h, w, pooling, min_valid, max_masked);
  const CellGradients grad(grad_xyz, grad_footprint, valid, in.cells());
  const Tensor out = new_empty(depth, {in.batch, in.maps.height, in.maps.width}, ScalarType::Float);
  if (out.numel() > 0) Device::backward_depth(in, grad, out);
  return out;
}

template <class Device, class Library>
void register_unproject(Library& m) {
  m.impl("unproject", MIRAGE_BOX(&unproject<Device>));
  m.impl("unproject_backward_features", MIRAGE_BOX(&unproject_backward_features<Device>));
  m.impl("unproject_backward_depth", MIRAGE_BOX(&unproject_backward_depth<Device>));
}

}  // namespace mirage
