// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "splat/splat_cpu.h"
#include "torch/parts.h"

namespace mirage {

Keys fill_keys(Scatter scatter, const SplatPoints& points, const std::vector<View>& views, int h, int w,
               uint64_t* first) {
  const int64_t v = static_cast<int64_t>(views.size()), cells = static_cast<int64_t>(h) * w;
  const Clouds& clouds = points.clouds;
  const int64_t n = points.n / std::max<int64_t>(clouds.count, 1);  // that a view sees, on average
  const int64_t parts = choose_parts(n, v, cells, kMinPointsPerThread);
  Keys keys{first, nullptr, parts, v * cells};
  if (parts > 1) keys.others = std::make_unique_for_overwrite<uint64_t[]>((parts - 1) * v * cells);
  each_part(n, v, parts, kMinPointsPerThread, [&](int64_t part, int64_t view, int64_t count) {
    uint64_t* buffer = part == 0 ? keys.first : keys.others.get() + (part - 1) * keys.size;
    for (const int64_t last = view + count; view < last;) {
      const int64_t run = std::min(last - view, clouds.views_of_group() - view % clouds.views_of_group());
      SplatPoints seen = points;
      static_cast<Cloud&>(seen) = clouds.cloud_of(points, view);
      scatter(seen, {&views[view], buffer + view * cells, static_cast<int>(run), h, w, part, parts});
      view += run;
    }
  });
  return keys;
}

void join_keys(const Keys& keys, int64_t at, int64_t n) {
  const SplatKernels& kernels = MIRAGE_KERNELS(splat_kernels);
  for (int64_t p = 0; p + 1 < keys.parts; ++p) kernels.join(keys.first + at, keys.others.get() + p * keys.size + at, n);
}

}  // namespace mirage
