// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/tile.h"
#include "splat/splat_cpu.h"
#include "splat/splat_surface_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinCellsPerThread = 65536;  // of two renderings

// One view: the winners' rows of features (N, C) go into their columns of out (C, cells).
template <class Word>
struct Columns {
  const int64_t* index;  // (cells,), -1 in holes
  const Word* features;
  const Word* hole;  // (C,) zeros
  Word* out;
  int64_t channels, cells;
};

template <class Word, bool kStream>
void move_winners(const Columns<Word>& view, int64_t begin, int64_t end) {
  const int64_t channels = view.channels;
  for (int64_t first = begin; first < end; first += kGroup) {
    const int64_t count = std::min(kGroup, end - first);
    const Word* rows[kGroup];
    for (int64_t k = 0; k < count; ++k) {
      const int64_t point = view.index[first + k];
      rows[k] = point < 0 ? view.hole : view.features + point * channels;
      for (int64_t c = 0; c < channels; c += 64 / sizeof(Word)) __builtin_prefetch(rows[k] + c);
    }
    transpose<Word, kStream>(rows, count, channels, view.out + first, view.cells);
  }
}

// Where nearly all cells are holes: clear in long runs, then write the few columns.
template <class Word>
void move_few_winners(const Columns<Word>& view, int64_t begin, int64_t end) {
  for (int64_t c = 0; c < view.channels; ++c)
    std::fill(view.out + c * view.cells + begin, view.out + c * view.cells + end, Word{0});
  for (int64_t k = begin; k < end; ++k) {
    if (view.index[k] < 0) continue;
    const Word* row = view.features + view.index[k] * view.channels;
    for (int64_t c = 0; c < view.channels; ++c) view.out[c * view.cells + k] = row[c];
  }
}

// Turns keys into depth and index, and moves the winners' features.
template <class Word>
void resolve(const Keys& keys, const Word* features, int64_t channels, const Clouds& clouds, int64_t views,
             int64_t cells, Word* out, bool stream, float* depth) {
  const std::vector<Word> hole(channels);
  const SplatKernels& kernels = MIRAGE_KERNELS(splat_kernels);
  const int64_t groups = (cells + kGroup - 1) / kGroup;
  const int64_t grain = std::max<int64_t>(1, 65536 / (channels + 1) / kGroup);
  parallel_for(0, views * groups, grain, [&](int64_t task, int64_t last) {
    while (task < last) {  // the groups of one view at a time
      const int64_t v = task / groups, some = std::min(last - task, groups - task % groups);
      const int64_t begin = task % groups * kGroup, end = std::min(cells, begin + some * kGroup);
      const int64_t at = v * cells + begin;
      join_keys(keys, at, end - begin);
      const int64_t hits = kernels.decode(keys.first + at, end - begin, depth + at);
      task += some;
      if (channels == 0) continue;
      const Columns<Word> view{reinterpret_cast<const int64_t*>(keys.first) + v * cells,
                               features + clouds.rows_of(v).first * channels,
                               hole.data(),
                               out + v * channels * cells,
                               channels,
                               cells};
      if (hits < (end - begin) / 8)
        move_few_winners(view, begin, end);
      else
        (stream ? move_winners<Word, true> : move_winners<Word, false>)(view, begin, end);
    }
    stream_fence();
  });
}

constexpr int64_t kMinSumsPerThread = 65536;
constexpr int64_t kWidth = 16;  // channels summed together: a cache line of sums, which no other thread writes to

template <class T, class Word>
MIRAGE_HD void add_words(const Word* words, int64_t width, float* __restrict sums) {
  for (int64_t c = 0; c < width; ++c) {
    T g;
    __builtin_memcpy(&g, words + c, sizeof(g));
    sums[c] += to_float(g);
  }
}

struct Sums {  // (end - begin, width): channels c0 .. c0 + width - 1 of points begin .. end - 1; 0 at first
  float* first;
  int64_t stride, c0, width, begin, end;

  float* of(int64_t point) const { return point >= begin && point < end ? first + (point - begin) * stride : nullptr; }
};

// grad (V, C, cells). Every sum runs in (view, cell) order in float32.
template <class T>
void sum_channels(const SplatGradient& in, const Sums& sums) {
  using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>;
  for (int64_t v = 0; v < in.views; ++v) {
    for (int64_t first = 0; first < in.cells; first += kGroup) {
      const int64_t count = std::min(kGroup, in.cells - first);
      const int64_t* index = data<int64_t>(in.index) + v * in.cells + first;
      bool is_empty = true;
      for (int64_t k = 0; k < count; ++k) {
        const float* sum = sums.of(index[k]);
        if (sum == nullptr) continue;
        __builtin_prefetch(sum, 1);
        is_empty = false;
      }
      if (is_empty) continue;
      Word tile[kGroup * kWidth];  // (cell, channel)
      const Word* rows[kWidth];
      for (int64_t c = 0; c < sums.width; ++c)
        rows[c] = reinterpret_cast<const Word*>(data<T>(in.grad)) + (v * in.channels + sums.c0 + c) * in.cells + first;
      transpose<Word>(rows, sums.width, count, tile, kWidth);
      for (int64_t k = 0; k < count; ++k) {
        float* sum = sums.of(index[k]);
        if (sum == nullptr) continue;
        if (sums.width == kWidth)
          add_words<T>(tile + k * kWidth, kWidth, sum);
        else
          add_words<T>(tile + k * kWidth, sums.width, sum);
      }
    }
  }
}

// Each job has some channels of some points. The points are split where the channels alone leave threads without work.
template <class T>
void sum_features(const SplatGradient& in) {
  T* out = mutable_data<T>(in.out);
  if constexpr (std::is_same_v<T, float>) {
    parallel_for(0, in.out.numel(), kMinSumsPerThread,
                 [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, 0.0f); });
  }
  const int64_t blocks = ceil_div(in.channels, kWidth), threads = torch::stable::get_num_threads();
  const int64_t parts = blocks % threads == 0 ? 1 : threads, points = ceil_div(in.num_points, parts);
  parallel_for(0, blocks * parts, 1, [&](int64_t job, int64_t last) {
    std::unique_ptr<float[]> scratch;
    if constexpr (!std::is_same_v<T, float>) scratch = std::make_unique_for_overwrite<float[]>(points * kWidth);
    for (; job < last; ++job) {
      const int64_t c0 = job / parts * kWidth, width = std::min(kWidth, in.channels - c0);
      const int64_t begin = std::min(job % parts * points, in.num_points);
      const int64_t end = std::min(begin + points, in.num_points);
      T* rows = out + begin * in.channels + c0;
      if constexpr (std::is_same_v<T, float>) {
        sum_channels<T>(in, Sums{rows, in.channels, c0, width, begin, end});
      } else {
        std::fill_n(scratch.get(), (end - begin) * kWidth, 0.0f);
        sum_channels<T>(in, Sums{scratch.get(), kWidth, c0, width, begin, end});
        for (int64_t n = 0; n < end - begin; ++n)
          for (int64_t c = 0; c < width; ++c) from_float(scratch[n * kWidth + c], rows + n * in.channels + c);
      }
    }
  });
}

struct SplatOnCpu : CpuDevice {
  static void splat(const SplatOperands& in) {
    const std::vector<View> views = load_views(in.cameras, margin_of(in.points));
    const Keys keys = fill_keys(MIRAGE_KERNELS(splat_kernels).scatter, in.points, views, in.cameras.h, in.cameras.w,
                                mutable_data<uint64_t>(in.index));  // in place
    with_word(in.features.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      resolve<Word>(keys, data<Word>(in.features), in.channels(), in.points.clouds, in.cameras.count,
                    in.cameras.cells(), mutable_data<Word>(in.out), is_worth_streaming(in.out, in.cameras.cells()),
                    mutable_data<float>(in.depth));
    });
  }

  static void composite(const Tensor&, const SurfaceJob& job) {
    const SplatKernels& kernels = MIRAGE_KERNELS(splat_kernels);
    parallel_for(0, job.n, kMinCellsPerThread, [&](int64_t begin, int64_t end) { kernels.composite(job, begin, end); });
  }

  static void backward_features(const SplatGradient& in) {
    guard_index(in.index, in.num_points);
    with_type(in.grad.scalar_type(), [&](auto type) { sum_features<decltype(type)>(in); });
  }

  static void backward_xyz(const SplatGradient& in, const Tensor& world2cam) {
    guard_index(in.index, in.num_points);
    float* sums = mutable_data<float>(in.out);
    std::fill_n(sums, 3 * in.num_points, 0.0f);
    for (int64_t i = 0; i < in.views * in.cells; ++i) {  // in order: the sums must repeat bit for bit
      const int64_t point = data<int64_t>(in.index)[i];
      if (point < 0) continue;
      const float* row = data<float>(world2cam) + 12 * (i / in.cells) + 8;
      for (int a = 0; a < 3; ++a) sums[3 * point + a] += data<float>(in.grad)[i] * row[a];
    }
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  mirage::register_splat<mirage::SplatOnCpu>(m);
  mirage::register_splat_surface<mirage::SplatOnCpu>(m);
  mirage::register_splat_backward<mirage::SplatOnCpu>(m);
}
