// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/tile.h"
#include "torch/parts.h"
#include "voxel_cache/voxel_cache_isa.h"
#include "voxel_cache/voxel_cache_read_operands.h"

namespace mirage {
namespace {

constexpr int64_t kGroup = 64;     // cells decoded together
constexpr int64_t kChannels = 64;  // of each of them
constexpr int64_t kMinPointsPerThread = 8192;   // rows in views that are worth a second thread

const char* channels_of(const StoredRows& in, int64_t row, int64_t first) {
  return static_cast<const char*>(in.features) + (row * in.channels + first) * size_of(in.element);
}

// Cells [first, first + count) of a view, out (C, cells).
template <class Word>
void decode_group(const StoredRows& in, const int64_t* index, int64_t first, int64_t count, int64_t cells, Element to,
                  Word* out) {
  const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
  for (int64_t k = 0; k < count; ++k)
    if (index[first + k] >= 0) __builtin_prefetch(channels_of(in, index[first + k], 0));
  for (int64_t c = 0; c < in.channels; c += kChannels) {
    const int64_t width = std::min(kChannels, in.channels - c);
    Word tile[kGroup * kChannels];  // (cell, channel)
    const Word* words[kGroup];
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = index[first + k];
      words[k] = tile + k * kChannels;
      if (row < 0) {
        std::fill_n(tile + k * kChannels, width, Word{0});
        continue;
      }
      kernels.expand(in.element, channels_of(in, row, c), width, load_scale(in, row), to, tile + k * kChannels);
    }
    transpose<Word>(words, count, width, out + c * cells + first, cells);
  }
}

struct VoxelCacheReadOnCpu : CpuDevice {
  static void carve(const CarveOperands& in) {
    const std::vector<View> views = load_views(in.cameras);
    std::fill_n(in.rows.keep, in.rows.rows, uint8_t{1});
    const int64_t parts = choose_parts(in.rows.rows, in.rows.views, 0, kMinPointsPerThread);
    each_part(in.rows.rows, 1, parts, kMinPointsPerThread, [&](int64_t part, int64_t, int64_t) {
      MIRAGE_KERNELS(voxel_cache_kernels).carve(in.rows, views.data(), part, parts);
    });
  }

  static void decode(const DecodeOperands& in) {
    const int64_t* index = data<int64_t>(in.index);
    guard(std::all_of(index, index + in.index.numel(), [&](int64_t i) { return i < in.rows.rows; }),
          "voxel_cache_decode: index names a row that does not exist");
    const Element to = element_of(in.out.scalar_type());
    const int64_t c = in.rows.channels, groups = ceil_div(in.cells, kGroup);
    with_word(in.out.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      parallel_for(0, in.views * groups, std::max<int64_t>(1, 512 / (c + 1)), [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t view = task / groups, first = task % groups * kGroup;
          decode_group<Word>(in.rows, index + view * in.cells, first, std::min(kGroup, in.cells - first), in.cells, to,
                             mutable_data<Word>(in.out) + view * c * in.cells);
        }
      });
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_voxel_cache_read<mirage::VoxelCacheReadOnCpu>(m); }
