// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "associate/associate_kernels.cuh"
#include "associate/associate_operands.h"
#include "torch/cuda.h"

namespace mirage {
namespace {

struct AssociateOnCuda : CudaDevice {
  static void associate(const AssociateOperands& points) {
    const OnDevice on(points.xyz);
    const AssociateJob& job = points.job;
    launch(associate_points_kernel, blocks_of(job.n, kAssociateThreads), kAssociateThreads, 0, on.stream, job);
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_associate<mirage::AssociateOnCuda>(m); }
