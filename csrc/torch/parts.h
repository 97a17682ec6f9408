// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "parallel.h"

// Work over N points and V views is cut into (part of the points, view), so that no two threads write to a word.
namespace mirage {

// How many parts. More balance better; each has words of its own to clear and join, `words` a view, one at about the
// cost of a point in a view. Fewer than `min_points` points in views are not worth a second thread.
inline int64_t choose_parts(int64_t points, int64_t views, int64_t words, int64_t min_points) {
  if (points * views < min_points) return 1;
  const int64_t threads = torch::stable::get_num_threads();
  if (threads == 1) return 1;
  int64_t best = 1, min_cost = INT64_MAX;
  for (int64_t parts = 1; parts <= threads; ++parts) {
    const int64_t rounds = (parts * views + threads - 1) / threads;
    const int64_t cost = rounds * (points / parts + words);
    if (cost < min_cost) {
      best = parts;
      min_cost = cost;
    }
  }
  return best;
}

// Calls visit(part, first view, number of views) in parallel, for all views of all parts.
template <class Visit>
void each_part(int64_t points, int64_t views, int64_t parts, int64_t min_points, const Visit& visit) {
  const int64_t grain = std::max<int64_t>(1, min_points / (points / parts + 1));
  parallel_for(0, parts * views, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {  // [begin, end) runs over views within parts
      const int64_t part = begin / views, first = begin % views, count = std::min(end - begin, views - first);
      visit(part, first, count);
      begin += count;
    }
  });
}

}  // namespace mirage
