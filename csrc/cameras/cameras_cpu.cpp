// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <tuple>

#include "common/camera.h"
#include "torch/tensor.h"

namespace mirage {
namespace {

// Cameras are built in the frame loop of other people's models: one call, where torch needs two dozen.
std::tuple<Tensor, bool> prepare_cameras(const Tensor& intrinsics, const Tensor& cam2world) {
  const int64_t v = cam2world.size(0);
  const Tensor k = expect(intrinsics, ScalarType::Float, {v, 3, 3}, "intrinsics must be float32 (V, 3, 3)");
  const Tensor m = expect(cam2world, ScalarType::Float, {v, 4, 4}, "cam2world must be float32 (V, 4, 4)");
  const Tensor world2cam = new_empty(m, {v, 3, 4}, ScalarType::Float);
  bool ok = true;
  for (int64_t i = 0; i < v; ++i) {
    ok = ok & is_pinhole_matrix(data<float>(k) + 9 * i) & is_rigid_matrix(data<float>(m) + 16 * i);
    invert_rigid(data<float>(m) + 16 * i, mutable_data<float>(world2cam) + 12 * i);
  }
  return {world2cam, ok};
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { m.impl("prepare_cameras", MIRAGE_BOX(&mirage::prepare_cameras)); }
