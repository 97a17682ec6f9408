// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "project/project_isa.h"
#include "project/project_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinBlocksPerThread = 64;  // blocks in views that are worth a second thread

struct ProjectOnCpu : CpuDevice {
  static void project(const ProjectOperands& in) {
    const ProjectJob job = in.job();
    const ProjectKernels& kernels = MIRAGE_KERNELS(project_kernels);
    parallel_for(0, ceil_div(job.n, kPointBlock) * job.views, kMinBlocksPerThread,
                 [&](int64_t first, int64_t last) { kernels.project_blocks(job, first, last); });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_project<mirage::ProjectOnCpu>(m); }
