// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "project/project_kernels.cuh"
#include "project/project_operands.h"
#include "torch/cuda.h"

namespace mirage {
namespace {

struct ProjectOnCuda : CudaDevice {
  static void project(const ProjectOperands& in) {
    const OnDevice on(in.xyz);
    const ProjectJob points = in.job();
    const int64_t blocks = ceil_div(points.n, kProjectThreads);
    launch(project_points_kernel, blocks_of(blocks * points.views, 1), kProjectThreads, 0, on.stream, points, blocks);
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_project<mirage::ProjectOnCuda>(m); }
