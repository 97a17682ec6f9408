// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <tuple>

#include "common/camera.h"
#include "torch/tensor.h"

namespace mirage {
namespace {

// The range of the values: rescaling the grid (by up to 2^24) does not overflow, nor does the inverse of a pose. The same
// numbers are in _camera_values.py.
constexpr float kMinFocal = 0x1p-64f, kMaxIntrinsic = 0x1p64f, kMaxTranslation = 0x1p126f;

bool is_in_range(const float* k, const float* m) {
  return (k[0] >= kMinFocal) & (k[4] >= kMinFocal) & (k[0] <= kMaxIntrinsic) & (k[4] <= kMaxIntrinsic) &
         (std::abs(k[2]) <= kMaxIntrinsic) & (std::abs(k[5]) <= kMaxIntrinsic) & (std::abs(m[3]) <= kMaxTranslation) &
         (std::abs(m[7]) <= kMaxTranslation) & (std::abs(m[11]) <= kMaxTranslation);
}

// Cameras are built in the frame loop of other people's models: one call, where torch needs two dozen.
std::tuple<Tensor, bool> prepare_cameras(const Tensor& intrinsics, const Tensor& cam2world) {
  const int64_t v = cam2world.size(0);
  const Tensor k = expect(intrinsics, ScalarType::Float, {v, 3, 3}, "intrinsics must be float32 (V, 3, 3)");
  const Tensor m = expect(cam2world, ScalarType::Float, {v, 4, 4}, "cam2world must be float32 (V, 4, 4)");
  const Tensor world2cam = new_empty(m, {v, 3, 4}, ScalarType::Float);
  bool ok = true;
  for (int64_t i = 0; i < v; ++i) {
    const float *camera = data<float>(k) + 9 * i, *pose = data<float>(m) + 16 * i;
    ok = ok & is_pinhole_matrix(camera) & is_rigid_matrix(pose) & is_in_range(camera, pose);
    invert_rigid(pose, mutable_data<float>(world2cam) + 12 * i);
  }
  return {world2cam, ok};
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { m.impl("prepare_cameras", MIRAGE_BOX(&mirage::prepare_cameras)); }
