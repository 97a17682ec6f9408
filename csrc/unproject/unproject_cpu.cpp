// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/tile.h"
#include "torch/parallel.h"
#include "unproject/unproject_isa.h"
#include "unproject/unproject_operands.h"

namespace mirage {
namespace {

// Calls visit(b, first, last, scratch) for rows first .. last - 1 of cells of a map, at most `rows` of them, for all rows
// of all maps, in parallel.
template <class Visit>
void for_each_rows(const UnprojectOperands& in, int64_t rows, const Visit& visit) {
  const auto [h, w] = in.maps.grid;
  const int64_t most_pixels = (in.maps.height / h + 2) * (in.maps.width / w + 2);
  const int64_t pixels_of_row = in.maps.pixels() / h + w;
  parallel_for(0, in.batch * h, std::max<int64_t>(1, 16384 / (pixels_of_row + 1)), [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<uint32_t[]>(pool_scratch(most_pixels));
    while (begin < end) {
      const int64_t b = begin / in.maps.grid.h, first = begin % in.maps.grid.h;
      const int64_t count = std::min({rows, end - begin, in.maps.grid.h - first});
      visit(b, first, first + count, scratch.get());
      begin += count;
    }
  });
}

// Cells whose features are moved together: enough that the hardware sees the runs of each channel coming, and few
// enough that what is written stays in a core's cache.
constexpr int64_t kMovedCells = 512;

// Cells in a row: (C, n) out of (C, h w) to (n, C), and zeros where a cell is invalid.
template <class Word>
void move_features(const Word* from, int64_t channels, int64_t cells, int64_t n, const uint8_t* valid, Word* to) {
  for (int64_t c = 0; c < channels; c += kTile<Word>) {
    const Word* rows[kTile<Word>];
    const int64_t count = std::min<int64_t>(kTile<Word>, channels - c);
    for (int64_t r = 0; r < count; ++r) rows[r] = from + (c + r) * cells;
    transpose<Word>(rows, count, n, to + c, channels);
  }
  for (int64_t j = 0; j < n; ++j)
    if (!valid[j]) std::fill_n(to + j * channels, channels, Word{0});
}

struct UnprojectOnCpu : CpuDevice {
  static void unproject(const UnprojectOperands& in, const Tensor& features, const UnprojectResult& out) {
    const DepthMaps& maps = in.maps;
    const int64_t c = features.size(1), w = maps.grid.w, cells = maps.cells();
    const UnprojectKernels& kernels = MIRAGE_KERNELS(unproject_kernels);
    with_word(features.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      for_each_rows(in, ceil_div(kMovedCells, w), [&](int64_t b, int64_t first, int64_t last, uint32_t* scratch) {
        uint8_t* valid = mutable_data<uint8_t>(out.valid) + b * cells;
        for (int64_t i = first; i < last; ++i) {
          const int64_t at = b * cells + i * w;
          float* z = mutable_data<float>(out.footprint) + at;  // holds the row's depths until they are lifted
          kernels.pool_row(maps.map(b), maps.rule, maps.grid, i, scratch, z, nullptr);
          kernels.lift_row(maps.pose(b), maps.pinhole(b), i, w, z, mutable_data<float>(out.xyz) + 3 * at, z,
                           valid + i * w);
        }
        const int64_t from = first * w;
        move_features<Word>(data<Word>(features) + b * c * cells + from, c, cells, (last - first) * w, valid + from,
                            mutable_data<Word>(out.features) + (b * cells + from) * c);
      });
    });
  }

  static void backward_features(const Tensor& grad, const Tensor& valid, const Tensor& out) {
    const int64_t b = out.size(0), c = out.size(1), h = out.size(2), w = out.size(3), cells = h * w;
    const uint8_t* of_cells = data<uint8_t>(valid);
    with_word(grad.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      const std::vector<Word> zeros(c);
      parallel_for(0, b * h, std::max<int64_t>(1, 32768 / (w * c + 1)), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          Word* to = mutable_data<Word>(out) + (r / h) * c * cells + (r % h) * w;
          for (int64_t j = 0; j < w; j += kTile<Word>) {
            const Word* from[kTile<Word>];
            const int64_t count = std::min<int64_t>(kTile<Word>, w - j);
            for (int64_t k = 0; k < count; ++k)
              from[k] = of_cells[r * w + j + k] ? data<Word>(grad) + (r * w + j + k) * c : zeros.data();
            transpose<Word>(from, count, c, to + j, cells);
          }
        }
      });
    });
  }

  static void backward_depth(const UnprojectOperands& in, const CellGradients& grad, const Tensor& out) {
    const DepthMaps& maps = in.maps;
    const int64_t n = in.cells(), w = maps.grid.w, cells = maps.cells();
    const auto dz = std::make_unique_for_overwrite<float[]>(n);
    const auto pixel = std::make_unique_for_overwrite<int64_t[]>(n);
    const UnprojectKernels& kernels = MIRAGE_KERNELS(unproject_kernels);
    for_each_rows(in, 1, [&](int64_t b, int64_t i, int64_t, uint32_t* scratch) {
      const int64_t at = b * cells + i * w;
      kernels.pool_row(maps.map(b), maps.rule, maps.grid, i, scratch, dz.get() + at, pixel.get() + at);
      for (int64_t k = at; k < at + w; ++k) {
        const float* g = data<float>(grad.xyz) + 3 * k;
        dz[k] = lift_cell_backward(maps.pose(b), maps.pinhole(b), static_cast<int>(i), static_cast<int>(k - at), g[0],
                                   g[1], g[2], data<float>(grad.footprint)[k]);
      }
    });
    float* sums = mutable_data<float>(out);
    std::fill_n(sums, out.numel(), 0.0f);
    for (int64_t k = 0; k < n; ++k) {  // in cell order: bilinear taps of neighbors can be the same pixel
      if (!data<uint8_t>(grad.valid)[k]) continue;
      float* map = sums + k / cells * maps.pixels();
      if (maps.rule.pooling != Pooling::kBilinear) {
        guard(pixel[k] >= 0, "unproject: valid does not belong to this depth");
        map[pixel[k]] += dz[k];
        continue;
      }
      const Taps down = taps_of(k % cells / w, maps.grid.h, maps.height), across = taps_of(k % w, w, maps.width);
      for_each_tap(down, across, [&](int64_t r, int64_t c, float along_row, float along_column) {
        map[r * maps.width + c] += dz[k] * (along_row * along_column);
      });
    }
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_unproject<mirage::UnprojectOnCpu>(m); }
