// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "associate/associate_isa.h"
#include "associate/associate_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinPointsPerThread = 8192;  // most of them need no past frame

struct AssociateOnCpu : CpuDevice {
  static void associate(const AssociateOperands& in) {
    const AssociateKernels& kernels = MIRAGE_KERNELS(associate_kernels);
    const std::vector<View> views = load_views(in.cameras);
    parallel_for(0, in.job.n, kMinPointsPerThread,
                 [&](int64_t first, int64_t last) { kernels.associate(in.job, views.data(), first, last); });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_associate<mirage::AssociateOnCpu>(m); }
