// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "common/float16.h"
#include "cpu/tile.h"
#include "torch/views.h"
#include "voxel_cache/voxel_cache_tensor.h"

// What views see of the rows. V views on a grid (h, w), R rows, C channels.
namespace mirage {
namespace {

constexpr int64_t kGroup = 64;     // cells decoded together
constexpr int64_t kChannels = 64;  // of each of them
constexpr int64_t kSample = 8;     // runs of pages asked before all of them are

using Views = std::vector<const View*>;

struct Boxes {
  const CacheBox *pages, *words, *tops;  // runs of 64, 64^2 and 64^3 rows
  int64_t num_pages, num_words, num_tops;

  // Of so many rows. The tensors may have room for more.
  Boxes(const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows)
      : num_pages(ceil_div(rows, kPage)), num_words(ceil_div(num_pages, kPage)), num_tops(ceil_div(num_words, kPage)) {
    guard(rows >= 0, "voxel_cache: rows must be >= 0");
    pages = level(boxes0, num_pages);
    words = level(boxes1, num_words);
    tops = level(boxes2, num_tops);
  }

  static const CacheBox* level(const Tensor& boxes, int64_t count) {
    expect_state(boxes, ScalarType::Float, {-1, 7}, "voxel_cache: boxes must be float32 (B, 7)");
    guard(boxes.size(0) >= count, "voxel_cache: boxes must hold all rows");
    return reinterpret_cast<const CacheBox*>(data<float>(boxes));
  }
};

// Calls visit(word, views that may draw of it) in parallel, for every run of 64 pages that there are such views of.
template <class Visit>
void each_word(const Boxes& boxes, const std::vector<View>& views, float scale, float least, const Visit& visit) {
  const auto may_draw = [&](const View* view, const CacheBox& b) {
    return !misses(view->frustum, b.box, scaled_extent(scale, b.footprint, least));
  };
  std::vector<Views> near(boxes.num_tops);
  for (int64_t top = 0; top < boxes.num_tops; ++top)
    for (const View& view : views)
      if (may_draw(&view, boxes.tops[top])) near[top].push_back(&view);
  torch::stable::parallel_for(0, boxes.num_words, 4, [&](int64_t begin, int64_t end) {
    Views some;
    for (int64_t word = begin; word < end; ++word) {
      some.clear();
      for (const View* view : near[word / kPage])
        if (may_draw(view, boxes.words[word])) some.push_back(view);
      if (!some.empty()) visit(word, some);
    }
  });
}

// Whether three quarters of a sample of the pages are in view. Then telling the pages apart costs more than it saves.
bool most_are_seen(const Boxes& boxes, const std::vector<View>& views, float scale, float least) {
  const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
  const int64_t step = ceil_div(boxes.num_words, kSample);
  Views all;
  for (const View& view : views) all.push_back(&view);
  int64_t seen = 0, asked = 0;
  for (int64_t word = 0; word < boxes.num_words; word += step) {
    const int64_t first = word * kPage, count = std::min(kPage, boxes.num_pages - first);
    seen += __builtin_popcountll(kernels.seen(boxes.pages + first, count, all.data(), static_cast<int64_t>(all.size()), scale,
                                    least));
    asked += count;
  }
  return 4 * seen > 3 * asked;
}

Tensor voxel_cache_cull(const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, const Tensor& intrinsics,
                        const Tensor& world2cam, int64_t h, int64_t w, int64_t rows, double scale, double least) {
  const Boxes boxes(boxes0, boxes1, boxes2, rows);
  const std::vector<View> views = load_views(intrinsics, world2cam, h, w);
  const float scale32 = static_cast<float>(scale), least32 = static_cast<float>(least);
  const Tensor out = empty_like(boxes0, {boxes.num_words}, ScalarType::Long);
  uint64_t* bits = mutable_data<uint64_t>(out);
  if (most_are_seen(boxes, views, scale32, least32)) {
    std::fill_n(bits, boxes.num_words, ~uint64_t{0});
    if (boxes.num_pages % kPage) bits[boxes.num_words - 1] >>= kPage - boxes.num_pages % kPage;
    return out;
  }
  std::fill_n(bits, boxes.num_words, 0);
  const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
  each_word(boxes, views, scale32, least32, [&](int64_t word, const Views& some) {
    const int64_t first = word * kPage, count = std::min(kPage, boxes.num_pages - first);
    bits[word] = kernels.seen(boxes.pages + first, count, some.data(), static_cast<int64_t>(some.size()), scale32,
                              least32);
  });
  return out;
}

Tensor voxel_cache_carve(const Tensor& xyz, const Tensor& depth, const Tensor& intrinsics, const Tensor& world2cam,
                         const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows,
                         double factor) {
  const int64_t v = depth.size(0), h = depth.size(1), w = depth.size(2);
  const Tensor maps = expect(depth, ScalarType::Float, {world2cam.size(0), h, w}, "voxel_cache_carve: bad depth");
  expect_state(xyz, ScalarType::Float, {-1, 3}, "voxel_cache_carve: xyz must be float32 (R, 3)");
  guard(rows <= xyz.size(0), "voxel_cache_carve: rows must be within capacity");
  const Boxes boxes(boxes0, boxes1, boxes2, rows);
  const std::vector<View> views = load_views(intrinsics, world2cam, h, w);
  const Tensor out = empty_like(xyz, {rows}, ScalarType::Bool);
  uint8_t* keep = mutable_data<uint8_t>(out);
  std::fill_n(keep, rows, uint8_t{1});
  if (v == 0) return out;
  const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
  each_word(boxes, views, 0.0f, 0.0f, [&](int64_t word, const Views& some) {
    const int64_t first = word * kPage, count = std::min(kPage, boxes.num_pages - first);
    for (const View* view : some) {
      const float* map = data<float>(maps) + (view - views.data()) * h * w;
      uint64_t bits = kernels.seen(boxes.pages + first, count, &view, 1, 0.0f, 0.0f);
      for (; bits != 0; bits &= bits - 1) {
        const int64_t row = (first + __builtin_ctzll(bits)) * kPage;
        kernels.carve(data<float>(xyz) + 3 * row, std::min(kPage, rows - row), *view, map, static_cast<int>(h),
                      static_cast<int>(w), static_cast<float>(factor), keep + row);
      }
    }
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
    torch::stable::parallel_for(0, v * groups, std::max<int64_t>(1, 512 / (c + 1)), [&](int64_t begin, int64_t end) {
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
  m.impl("voxel_cache_cull", TORCH_BOX(&mirage::voxel_cache_cull));
  m.impl("voxel_cache_carve", TORCH_BOX(&mirage::voxel_cache_carve));
  m.impl("voxel_cache_decode", TORCH_BOX(&mirage::voxel_cache_decode));
}
