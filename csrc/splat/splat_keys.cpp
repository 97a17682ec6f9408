// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "splat/splat_cpu.h"

namespace mirage {
namespace {

// Work is cut into (part of the points, view). More parts balance better; each has z-buffers of its own to clear and
// join, at about three times the cost of a point in a view.
int64_t choose_parts(int64_t points, int64_t views, int64_t cells) {
  const int64_t threads = torch::stable::get_num_threads();
  if (threads == 1 || points * views < 8192) return 1;
  int64_t best = 1, least = INT64_MAX;
  for (int64_t parts = 1; parts <= threads; ++parts) {
    const int64_t rounds = (parts * views + threads - 1) / threads;
    const int64_t cost = rounds * (points / parts + cells);
    if (cost < least) {
      best = parts;
      least = cost;
    }
  }
  return best;
}

}  // namespace

std::vector<SplatView> load_views(const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
                                  float margin) {
  const int64_t v = world2cam.size(0);
  guard(h > 0 && w > 0 && h <= INT32_MAX / w, "splat: bad grid size");
  const Tensor k = expect(intrinsics, ScalarType::Float, {v, 3, 3}, "splat: intrinsics must be float32 (V, 3, 3)");
  const Tensor m = expect(world2cam, ScalarType::Float, {v, 3, 4}, "splat: world2cam must be float32 (V, 3, 4)");
  std::vector<SplatView> views(v);
  for (int64_t i = 0; i < v; ++i) {
    views[i] = {load_rigid(data<float>(m) + 12 * i), load_pinhole(data<float>(k) + 9 * i), {}};
    views[i].frustum =
        make_frustum(views[i].world2cam, views[i].pinhole, static_cast<int>(h), static_cast<int>(w), margin);
  }
  return views;
}

Keys fill_keys(Scatter scatter, const SplatPoints& points, const std::vector<SplatView>& views, int h, int w,
               int64_t* first) {
  const int64_t v = static_cast<int64_t>(views.size()), cells = static_cast<int64_t>(h) * w;
  const int64_t read = points.num_pages * kPointsPerPage;
  const int64_t parts = choose_parts(read, v, cells);
  Keys keys{first, std::make_unique_for_overwrite<int64_t[]>((parts - 1) * v * cells), parts, v * cells};
  torch::stable::parallel_for(0, parts * v, std::max<int64_t>(1, 8192 / (read / parts + 1)),
                              [&](int64_t begin, int64_t end) {
    while (begin < end) {  // [begin, end) runs over views within parts
      const int64_t part = begin / v, view = begin % v, count = std::min(end - begin, v - view);
      int64_t* buffer = part == 0 ? keys.first : keys.others.get() + (part - 1) * keys.size;
      scatter(points, {&views[view], buffer + view * cells, static_cast<int>(count), h, w, part, parts});
      begin += count;
    }
  });
  return keys;
}

void join_keys(const Keys& keys, int64_t at, int64_t n) {
  const SplatKernels& kernels = MIRAGE_KERNELS(splat_kernels);
  for (int64_t p = 0; p + 1 < keys.parts; ++p)
    kernels.join(keys.first + at, keys.others.get() + p * keys.size + at, n);
}

}  // namespace mirage
