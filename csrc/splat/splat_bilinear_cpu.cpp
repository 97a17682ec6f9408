// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "splat/splat_bilinear_isa.h"
#include "splat/splat_bilinear_operands.h"
#include "splat/splat_cpu.h"
#include "splat/splat_rows_cpu.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMaxSums = 1 << 20;  // of the views that a thread blends at once

std::unique_ptr<float[]> limits_of(const float* depth, int64_t n, float band) {
  auto limits = std::make_unique_for_overwrite<float[]>(n);
  for (int64_t i = 0; i < n; ++i) limits[i] = blend_limit(depth[i], band);
  return limits;
}

struct Gradient {  // what the kernels of both gradients take, and what keeps it alive
  std::vector<View> views;
  std::unique_ptr<float[]> limits, rows;
  BlendGrid grid;
  BlendGradient job;

  explicit Gradient(const BilinearGradient& in)
      : views(load_views(in.cameras, kCornerMargin)),
        limits(limits_of(data<float>(in.depth), in.depth.numel(), in.band)), rows(rows_of(in.grad)),
        grid{in.cameras.h, in.cameras.w, in.channels(), limits.get()},
        job{views.data(), static_cast<int>(in.cameras.count), rows.get(), data<float>(in.weight), nullptr, 0, 0} {}
};

// Points are independent of each other: threads take blocks of them.
template <class Run>
void for_each_block(const SplatPoints& points, const BlendGradient& all, const Run& run) {
  parallel_for(0, num_blocks(points), 8, [&](int64_t first, int64_t last) {
    BlendGradient job = all;
    job.first = first;
    job.last = last;
    run(job);
  });
}

struct BilinearOnCpu : CpuDevice {
  static void splat(const BilinearOperands& in) {
    const int type = dtype_number(in.features.scalar_type());
    const int64_t v = in.cameras.count, c = in.features.size(1), cells = in.cameras.cells();
    const auto views = load_views(in.cameras, kCornerMargin);
    const BilinearKernels& kernels = MIRAGE_KERNELS(bilinear_kernels);
    const Keys keys = fill_keys(kernels.scatter, in.points, views, in.cameras.h, in.cameras.w,
                                mutable_data<uint64_t>(in.index));
    join_keys(keys, 0, v * cells);
    float* depth = mutable_data<float>(in.depth);
    MIRAGE_KERNELS(splat_kernels).decode(keys.first, v * cells, depth);
    const auto limits = limits_of(depth, v * cells, in.band);

    // Work is cut into (view, part of its cells). A part takes all points in order: its sums do not depend on the cut.
    const int64_t threads = torch::stable::get_num_threads();
    const int64_t parts = std::max<int64_t>(1, std::min(cells, (threads + v - 1) / std::max<int64_t>(v, 1)));
    const int64_t most = (cells + parts - 1) / parts * c;  // sums of a view
    const int64_t batch = parts > 1 ? 1 : std::max<int64_t>(1, kMaxSums / (most + 1));
    parallel_for(0, v * parts, 1, [&](int64_t task, int64_t last_task) {
      const auto sums = std::make_unique_for_overwrite<float[]>(std::min(batch, last_task - task) * most);
      while (task < last_task) {
        const int64_t view = task / parts, part = task % parts, count = std::min(batch, last_task - task);
        const int64_t first = cells * part / parts, last = cells * (part + 1) / parts;
        const BlendGrid grid{in.cameras.h, in.cameras.w, c, limits.get() + view * cells};
        BlendSums job{first, last, sums.get(), mutable_data<float>(in.weight) + view * cells + first, cells};
        kernels.blend[type](in.points, &views[view], static_cast<int>(count), grid, in.features.const_data_ptr(), job);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t at = (view + i) * cells + first;
          auto* to = static_cast<char*>(in.out.mutable_data_ptr()) +
                     ((view + i) * c * cells + first) * in.out.element_size();
          kernels.normalize[type](grid, job,
                                  {last - first, cells, mutable_data<int64_t>(in.index) + at, depth + at, to});
          job.features += job.cells() * c;
          job.weights += cells;
        }
        task += count;
      }
    });
  }

  static void backward_features(const BilinearGradient& in, const Tensor& out) {
    const Gradient g(in);
    const RoundedSums sums(out);
    for_each_block(in.points, g.job, [&](const BlendGradient& job) {
      MIRAGE_KERNELS(bilinear_kernels).backward_features(in.points, g.grid, job, sums.first);
    });
    sums.round();
  }

  static void backward_xyz(const BilinearGradient& in, const Tensor& features, const Tensor& blended,
                           const Tensor& out) {
    Gradient g(in);
    const auto maps = rows_of(blended);
    g.job.blended = maps.get();
    std::fill_n(mutable_data<float>(out), out.numel(), 0.0f);
    const auto run = MIRAGE_KERNELS(bilinear_kernels).backward_xyz[dtype_number(features.scalar_type())];
    for_each_block(in.points, g.job, [&](const BlendGradient& job) {
      run(in.points, g.grid, job, features.const_data_ptr(), mutable_data<float>(out));
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_splat_bilinear<mirage::BilinearOnCpu>(m); }
