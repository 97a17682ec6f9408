// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "splat/splat_cpu.h"
#include "splat/splat_layers_isa.h"
#include "splat/splat_layers_operands.h"
#include "torch/parts.h"

namespace mirage {
namespace {

constexpr int64_t kMinPointsPerThread = 8192;  // points in views that are worth a second thread

// The z-buffers of several parts of the points, each of all views.
struct LayerParts {
  std::unique_ptr<int64_t[]> keys;
  std::unique_ptr<uint64_t[]> limits;
  int64_t layers, stride, views, cells, parts;

  LayerParts(const LayersOperands& in)
      : layers(in.layers), stride(ceil_div(layers, kLayerBlock) * kLayerBlock), views(in.cameras.count),
        cells(in.cameras.cells()), parts(choose_parts(in.n, views, cells * stride, kMinPointsPerThread)) {
    keys = std::make_unique_for_overwrite<int64_t[]>(parts * views * cells * stride);
    limits = std::make_unique_for_overwrite<uint64_t[]>(parts * views * cells);
  }
  LayerBuffers of(int64_t part, int64_t view) const {
    return LayerBuffers{keys.get(), limits.get(), layers, stride, cells}.from(part * views + view);
  }
};

struct LayersOnCpu : CpuDevice {
  static void splat_layers(const LayersOperands& in) {
    const std::vector<View> views = load_views(in.cameras, margin_of(in.points));
    const LayersKernels& kernels = MIRAGE_KERNELS(layers_kernels);
    const LayerParts parts(in);
    each_part(in.n, parts.views, parts.parts, kMinPointsPerThread, [&](int64_t part, int64_t view, int64_t count) {
      kernels.scatter(in.points, {&views[view], parts.of(part, view), static_cast<int>(count), in.cameras.h,
                                  in.cameras.w, part, parts.parts});
    });
    const int64_t groups = ceil_div(parts.cells, kGroup), grain = std::max<int64_t>(1, 64 / in.layers);
    parallel_for(0, parts.views * groups, grain, [&](int64_t task, int64_t last_task) {
      for (; task < last_task; ++task) {
        const int64_t v = task / groups, first = task % groups * kGroup, at = v * in.layers * parts.cells;
        const int64_t last = std::min(parts.cells, first + kGroup);
        const LayerBuffers buffers = parts.of(0, v);
        for (int64_t part = 1; part < parts.parts; ++part) kernels.join(buffers, parts.of(part, v), first, last);
        kernels.decode(in.points, views[v], in.cameras.w, buffers,
                       {first, last, mutable_data<int64_t>(in.index) + at, mutable_data<float>(in.depth) + at,
                        mutable_data<float>(in.distance2) + at});
      }
    });
  }

  static void backward_xyz(const LayersGradient& in) {
    guard_index(in.index, in.xyz.size(0));
    const LayerCameras cameras = in.layer_cameras();
    float* sums = mutable_data<float>(in.out);
    std::fill_n(sums, in.out.numel(), 0.0f);
    for (int64_t i = 0; i < in.index.numel(); ++i) {  // in order: the sums must repeat bit for bit
      const int64_t point = data<int64_t>(in.index)[i];
      if (point < 0) continue;
      const Vec3 g = layer_backward(cameras, layer_entry(cameras, i), point, data<float>(in.grad_depth)[i],
                                    data<float>(in.grad_distance2)[i]);
      sums[3 * point] += g.x;
      sums[3 * point + 1] += g.y;
      sums[3 * point + 2] += g.z;
    }
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_splat_layers<mirage::LayersOnCpu>(m); }
