// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "common/float16.h"
#include "cpu/tile.h"
#include "torch/boxes.h"
#include "torch/parts.h"
#include "torch/views.h"
#include "voxel_cache/voxel_cache_isa.h"
#include "voxel_cache/voxel_cache_tensor.h"

// What views see of the rows. V views on a grid (h, w), R rows, C channels.
namespace mirage {
namespace {

constexpr int64_t kGroup = 64;     // cells decoded together
constexpr int64_t kChannels = 64;  // of each of them
constexpr int64_t kLeast = 8192;   // rows in views that are worth a second thread

Tensor voxel_cache_carve(const Tensor& xyz, const Tensor& depth, const Tensor& intrinsics, const Tensor& world2cam,
                         const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows,
                         double factor) {
  const int64_t v = depth.size(0), h = depth.size(1), w = depth.size(2);
  const Tensor maps = expect(depth, ScalarType::Float, {world2cam.size(0), h, w}, "voxel_cache_carve: bad depth");
  expect_state(xyz, ScalarType::Float, {-1, 3}, "voxel_cache_carve: xyz must be float32 (R, 3)");
  guard(rows <= xyz.size(0), "voxel_cache_carve: rows must be within capacity");
  guard(rows >= 0, "voxel_cache_carve: rows must be >= 0");
  const PageBoxes boxes = load_boxes(boxes0, boxes1, boxes2, rows);
  const std::vector<View> views = load_views(intrinsics, world2cam, h, w);
  const Tensor out = empty_like(xyz, {rows}, ScalarType::Bool);
  uint8_t* keep = mutable_data<uint8_t>(out);
  std::fill_n(keep, rows, uint8_t{1});
  const CarveJob job{data<float>(xyz), rows, boxes, views.data(), v, data<float>(maps), static_cast<int>(h),
                     static_cast<int>(w), static_cast<float>(factor), keep};
  const int64_t parts = choose_parts(rows, v, 0, kLeast);
  each_part(rows, 1, parts, kLeast, [&](int64_t part, int64_t, int64_t) {
    MIRAGE_KERNELS(voxel_cache_kernels).carve(job, part, parts);
  });
  return out;
}

struct Store {  // the rows' features, and what turns them into numbers
  const char* features;
  Element element;
  const float* scale;
  const int32_t* count;
  int64_t rows, channels;

  const char* at(int64_t row, int64_t channel) const {
    return features + (row * channels + channel) * size_of(element);
  }
};

// Cells [first, first + count) of a view, out (C, cells).
template <class Word>
void decode_group(const Store& store, const int64_t* index, int64_t first, int64_t count, int64_t cells, Element to,
                  Word* out) {
  const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
  for (int64_t k = 0; k < count; ++k)
    if (index[first + k] >= 0) __builtin_prefetch(store.at(index[first + k], 0));
  for (int64_t c = 0; c < store.channels; c += kChannels) {
    const int64_t width = std::min(kChannels, store.channels - c);
    Word tile[kGroup * kChannels];  // (cell, channel)
    const Word* words[kGroup];
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = index[first + k];
      words[k] = tile + k * kChannels;
      if (row < 0) {
        std::fill_n(tile + k * kChannels, width, Word{0});
        continue;
      }
      const float scale = store.scale ? store.scale[row] : 1.0f;
      const float divisor = store.count ? static_cast<float>(store.count[row]) : 1.0f;
      kernels.expand(store.element, store.at(row, c), width, scale, divisor, to, tile + k * kChannels);
    }
    transpose<Word>(words, count, width, out + c * cells + first, cells);
  }
}

Tensor voxel_cache_decode(const Tensor& features, OptionalTensor scale, OptionalTensor count, const Tensor& index,
                          const Tensor& like) {
  const int64_t r = features.size(0), c = features.size(1), v = index.size(0), h = index.size(1), w = index.size(2);
  expect_state(features, features.scalar_type(), {r, c}, "voxel_cache_decode: features must be (R, C)");
  if (scale) expect_state(*scale, ScalarType::Float, {r}, "voxel_cache_decode: scale must be float32 (R,)");
  if (count) expect_state(*count, ScalarType::Int, {r}, "voxel_cache_decode: count must be int32 (R,)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "voxel_cache_decode: index must be int64 (V, h, w)");
  const int64_t* rows = data<int64_t>(at);
  guard(std::all_of(rows, rows + at.numel(), [&](int64_t i) { return i < r; }),
        "voxel_cache_decode: index names a row that is not there");
  const Tensor out = empty_like(like, {v, c, h, w}, like.scalar_type());
  const Store store{data<char>(features), element_of(features.scalar_type()), data<float>(scale), data<int32_t>(count),
                    r, c};
  const Element to = element_of(like.scalar_type());
  const int64_t cells = h * w, groups = ceil_div(cells, kGroup);
  const auto run = [&](auto word) {
    using Word = decltype(word);
    parallel_for(0, v * groups, std::max<int64_t>(1, 512 / (c + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t view = task / groups, first = task % groups * kGroup;
        decode_group<Word>(store, rows + view * cells, first, std::min(kGroup, cells - first), cells, to,
                           mutable_data<Word>(out) + view * c * cells);
      }
    });
  };
  switch (size_of(to)) {
    case 2: run(uint16_t{}); break;
    case 4: run(uint32_t{}); break;
    default: guard(false, "voxel_cache_decode: like must be float32, bfloat16 or float16");
  }
  return out;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("voxel_cache_carve", TORCH_BOX(&mirage::voxel_cache_carve));
  m.impl("voxel_cache_decode", TORCH_BOX(&mirage::voxel_cache_decode));
}
