// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "splat/splat_frontmost_isa.h"
#include "splat/splat_frontmost_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinPointsPerThread = 8192;  // points in views that are worth a second thread

struct FrontmostOnCpu : CpuDevice {
  static void frontmost(const FrontmostOperands& in) {
    const FrontmostJob& job = in.job;
    const FrontmostKernels& kernels = MIRAGE_KERNELS(frontmost_kernels);
    const int64_t grain = std::max<int64_t>(1, kMinPointsPerThread / (job.n + job.cells()));
    parallel_for(0, job.views, grain, [&](int64_t view, int64_t last) {
      const auto nearest = std::make_unique_for_overwrite<uint32_t[]>(job.cells());
      const auto points = std::make_unique_for_overwrite<uint32_t[]>(job.n + 1);
      const auto cells = std::make_unique_for_overwrite<int32_t[]>(job.n + 1);
      const auto depths = std::make_unique_for_overwrite<float[]>(job.n + 1);
      for (; view < last; ++view) kernels.mark(job, view, {nearest.get(), points.get(), cells.get(), depths.get()});
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_frontmost<mirage::FrontmostOnCpu>(m); }
