// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "cpu/tile.h"
#include "splat/splat_cpu.h"
#include "splat/splat_sum_isa.h"
#include "splat/splat_sum_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinSumsPerThread = 1 << 15;  // sums that are worth a second thread

struct SumOnCpu : CpuDevice {
  // A thread has rows of the grid and goes through all points, so that every sum has the order of the points.
  static void splat_sum(const SumOperands& in) {
    const int64_t stride = in.points.channels + 1, cells = in.cells(), h = in.points.h, w = in.points.w;
    const auto sums = std::make_unique_for_overwrite<float[]>(cells * stride);
    const SumKernels& kernels = MIRAGE_KERNELS(sum_kernels);
    const int64_t work = std::max(cells, in.points.n) * stride;
    parallel_for(0, h, work < kMinSumsPerThread ? h : 1, [&](int64_t first, int64_t last) {
      std::fill(sums.get() + first * w * stride, sums.get() + last * w * stride, 0.0f);
      const auto rows = std::make_unique_for_overwrite<uint32_t[]>(kPointBlock * stride);
      const auto planes = std::make_unique_for_overwrite<const uint32_t*[]>(stride);
      kernels.add_to_rows(in.points, static_cast<int>(first), static_cast<int>(last),
                          {sums.get(), rows.get(), planes.get()});
      for (int64_t cell = first * w; cell < last * w; cell += kGroup) {
        const int64_t count = std::min(kGroup, last * w - cell);
        const uint32_t* words[kGroup];
        for (int64_t k = 0; k < count; ++k)
          words[k] = reinterpret_cast<const uint32_t*>(sums.get() + (cell + k) * stride);
        transpose<uint32_t>(words, count, stride, mutable_data<uint32_t>(in.out) + cell, cells);
      }
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_splat_sum<mirage::SumOnCpu>(m); }
