// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "common/depth_key.h"
#include "common/float16.h"
#include "cpu/tile.h"
#include "splat/splat_isa.h"
#include "torch/tensor.h"

// N points, V views, C channels, grid (h, w).
namespace mirage {
namespace {

constexpr int64_t kGroup = 64;  // cells moved together: all their rows are fetched before the first is needed

struct Keys {  // (parts, V, h w): the z-buffers of the parts, to be joined by their minimum
  int64_t* first;
  int64_t* others;  // (parts - 1, V, h w)
  int64_t parts, size;

  int64_t joined(int64_t at) const {
    int64_t key = first[at];
    for (int64_t p = 0; p + 1 < parts; ++p) key = std::min(key, others[p * size + at]);
    return key;
  }
};

// Work is cut into (part of the points, view); fewer parts mean fewer z-buffers, more parts a better balance.
int64_t choose_parts(int64_t points, int64_t views) {
  const int64_t threads = torch::stable::get_num_threads();
  if (threads == 1 || points * views < 8192) return 1;
  for (int64_t parts = 1; parts < threads; ++parts) {
    const int64_t rounds = (parts * views + threads - 1) / threads;
    if (10 * rounds * threads <= 11 * parts * views) return parts;
  }
  return threads;
}

void fill_keys(const SplatPoints& points, const std::vector<SplatView>& views, int h, int w, const Keys& keys) {
  const int64_t v = static_cast<int64_t>(views.size()), cells = static_cast<int64_t>(h) * w;
  const SplatKernels& kernels = MIRAGE_KERNELS(splat_kernels);
  torch::stable::parallel_for(0, keys.parts * v, std::max<int64_t>(1, 8192 / (points.n / keys.parts + 1)),
                              [&](int64_t begin, int64_t end) {
    while (begin < end) {  // [begin, end) runs over views within parts
      const int64_t part = begin / v, first = begin % v, count = std::min(end - begin, v - first);
      int64_t* buffer = part == 0 ? keys.first : keys.others + (part - 1) * keys.size;
      kernels.scatter(points, {&views[first], buffer + first * cells, static_cast<int>(count), h, w, part, keys.parts});
      begin += count;
    }
  });
}

// Cells [begin, end) of (V, h w): keys to depth and index. Returns how many are not holes. `keys.first` may be `index`
// itself: a cell is read before it is written.
int64_t resolve_keys(const Keys& keys, int64_t begin, int64_t end, float* depth, int64_t* index) {
  int64_t hits = 0;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t key = keys.joined(at);
    const bool hit = key != kEmptyKey;
    index[at] = hit ? key_index(key) : -1;
    depth[at] = hit ? key_depth(key) : bits_float(0x7f800000u);
    hits += hit;
  }
  return hits;
}

// Copies each winner's row of features (N, C) into its column of one view (C, cells), for cells [begin, end).
template <class Word>
void move_winners(const int64_t* index, int64_t begin, int64_t end, int64_t hits, const Word* features,
                  int64_t channels, int64_t cells, const Word* hole, Word* out) {
  if (hits < (end - begin) / 8) {  // nearly all holes: clear in long runs, then write the few columns
    for (int64_t c = 0; c < channels; ++c) std::fill(out + c * cells + begin, out + c * cells + end, Word{0});
    for (int64_t k = begin; k < end; ++k) {
      if (index[k] < 0) continue;
      const Word* row = features + index[k] * channels;
      for (int64_t c = 0; c < channels; ++c) out[c * cells + k] = row[c];
    }
    return;
  }
  for (int64_t first = begin; first < end; first += kGroup) {
    const int64_t count = std::min(kGroup, end - first);
    const Word* rows[kGroup];
    for (int64_t k = 0; k < count; ++k) {
      const int64_t point = index[first + k];
      rows[k] = point < 0 ? hole : features + point * channels;
      for (int64_t c = 0; c < channels; c += 64 / sizeof(Word)) __builtin_prefetch(rows[k] + c);
    }
    for (int64_t k = 0; k < count; k += kTile<Word>)
      transpose_rows<Word>(rows + k, static_cast<int>(std::min<int64_t>(kTile<Word>, count - k)), channels,
                           out + first + k, cells);
  }
}

template <class Word>
void resolve(const Keys& keys, const Word* features, int64_t channels, int64_t views, int64_t cells, Word* out,
             float* depth, int64_t* index) {
  const std::vector<Word> hole(channels);
  const int64_t grain = std::max(kGroup, 65536 / (channels + 1));
  torch::stable::parallel_for(0, views * cells, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {  // one view at a time
      const int64_t v = begin / cells, start = v * cells, stop = std::min(end, start + cells);
      const int64_t hits = resolve_keys(keys, begin, stop, depth, index);
      move_winners(index + start, begin - start, stop - start, hits, features, channels, cells, hole.data(),
                   out + start * channels);
      begin = stop;
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> splat(const Tensor& xyz, const Tensor& features, const Tensor& intrinsics,
                                         const Tensor& world2cam, int64_t h, int64_t w, OptionalTensor valid,
                                         OptionalTensor extents, double extent) {
  const int64_t n = xyz.size(0), v = world2cam.size(0), c = features.size(-1);
  guard(h > 0 && w > 0 && h <= INT32_MAX / w, "splat: bad grid size");
  guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 points");
  const Tensor points = expect(xyz, ScalarType::Float, {n, 3}, "splat: xyz must be float32 (N, 3)");
  const Tensor rows = expect(features, features.scalar_type(), {n, c}, "splat: features must be (N, C)");
  const Tensor k = expect(intrinsics, ScalarType::Float, {v, 3, 3}, "splat: intrinsics must be float32 (V, 3, 3)");
  const Tensor m = expect(world2cam, ScalarType::Float, {v, 3, 4}, "splat: world2cam must be float32 (V, 3, 4)");
  valid = expect(valid, ScalarType::Bool, {n}, "splat: valid must be bool (N,)");
  extents = expect(extents, ScalarType::Float, {n}, "splat: extents must be float32 (N,)");

  std::vector<SplatView> views(v);
  for (int64_t i = 0; i < v; ++i) {
    views[i] = {load_rigid(data<float>(m) + 12 * i), load_pinhole(data<float>(k) + 9 * i), {}};
    views[i].frustum = make_frustum(views[i].world2cam, views[i].pinhole, static_cast<int>(h), static_cast<int>(w));
  }
  const Tensor out = empty_like(features, {v, c, h, w}, features.scalar_type());
  const Tensor depth = empty_like(xyz, {v, h, w}, ScalarType::Float);
  const Tensor index = empty_like(xyz, {v, h, w}, ScalarType::Long);

  const int64_t cells = h * w, parts = choose_parts(n, v);
  const auto others = std::make_unique_for_overwrite<int64_t[]>((parts - 1) * v * cells);
  const Keys keys{mutable_data<int64_t>(index), others.get(), parts, v * cells};
  fill_keys({data<float>(points), data<uint8_t>(valid), data<float>(extents), static_cast<float>(extent), n}, views,
            static_cast<int>(h), static_cast<int>(w), keys);
  const auto finish = [&](auto word) {
    using Word = decltype(word);
    resolve<Word>(keys, data<Word>(rows), c, v, cells, mutable_data<Word>(out), mutable_data<float>(depth),
                  mutable_data<int64_t>(index));
  };
  switch (features.element_size()) {
    case 2: finish(uint16_t{}); break;
    case 4: finish(uint32_t{}); break;
    default: guard(false, "splat: features must be float32, bfloat16 or float16");
  }
  return {out, depth, index};
}

// grad (V, C, h w) -> sums (N, C) for channels [c0, c1). Every sum runs in (view, cell) order in float32.
template <class T>
void sum_channels(const T* grad, const int64_t* index, int64_t views, int64_t cells, int64_t channels, int64_t c0,
                  int64_t c1, float* sums) {
  using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>;
  constexpr int64_t kWidth = 16;
  for (; c0 < c1; c0 += kWidth) {
    const int64_t width = std::min(kWidth, c1 - c0);
    for (int64_t v = 0; v < views; ++v) {
      for (int64_t first = 0; first < cells; first += kGroup) {
        const int64_t count = std::min(kGroup, cells - first);
        Word tile[kGroup * kWidth];  // (cell, channel)
        for (int64_t c = 0; c < width; c += kTile<Word>) {
          const Word* rows[kTile<Word>];
          const int64_t some = std::min<int64_t>(kTile<Word>, width - c);
          for (int64_t r = 0; r < some; ++r)
            rows[r] = reinterpret_cast<const Word*>(grad) + (v * channels + c0 + c + r) * cells + first;
          transpose_rows<Word>(rows, static_cast<int>(some), count, tile + c, kWidth);
        }
        for (int64_t k = 0; k < count; ++k) {
          const int64_t point = index[v * cells + first + k];
          if (point < 0) continue;
          float* __restrict sum = sums + point * channels + c0;
          for (int64_t c = 0; c < width; ++c) {
            T g;
            __builtin_memcpy(&g, &tile[k * kWidth + c], sizeof(g));
            sum[c] += to_float(g);
          }
        }
      }
    }
  }
}

template <class T>
void sum_features(const T* grad, const int64_t* index, int64_t views, int64_t cells, int64_t channels, int64_t points,
                  T* out) {
  std::unique_ptr<float[]> scratch;
  float* sums;
  if constexpr (std::is_same_v<T, float>) {
    sums = out;
  } else {
    scratch = std::make_unique_for_overwrite<float[]>(points * channels);
    sums = scratch.get();
  }
  std::fill_n(sums, points * channels, 0.0f);
  torch::stable::parallel_for(0, channels, 8, [&](int64_t c0, int64_t c1) {
    sum_channels<T>(grad, index, views, cells, channels, c0, c1, sums);
  });
  if constexpr (!std::is_same_v<T, float>) {
    torch::stable::parallel_for(0, points * channels, 65536, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) from_float(sums[i], out + i);
    });
  }
}

void guard_index(const Tensor& index, int64_t num_points) {
  const int64_t* at = data<int64_t>(index);
  const bool ok = std::all_of(at, at + index.numel(), [&](int64_t i) { return i < num_points; });
  guard(ok, "splat: index names a point that is not there");
}

Tensor splat_backward_features(const Tensor& grad_features, const Tensor& index, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2), c = grad_features.size(1);
  const ScalarType dtype = grad_features.scalar_type();
  const Tensor grad = expect(grad_features, dtype, {v, c, h, w}, "splat: grad_features must be (V, C, h, w)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "splat: index must be int64 (V, h, w)");
  guard_index(at, num_points);
  const Tensor out = empty_like(grad, {num_points, c}, dtype);
  const auto run = [&](auto type) {
    using T = decltype(type);
    sum_features<T>(data<T>(grad), data<int64_t>(at), v, h * w, c, num_points, mutable_data<T>(out));
  };
  switch (dtype) {
    case ScalarType::Float: run(float{}); break;
    case ScalarType::BFloat16: run(BFloat16{}); break;
    case ScalarType::Half: run(Float16{}); break;
    default: guard(false, "splat: grad_features must be float32, bfloat16 or float16");
  }
  return out;
}

// depth = Z = r20 x + r21 y + r22 z + t2, so a cell hands its gradient to its point along the view's third row.
Tensor splat_backward_xyz(const Tensor& grad_depth, const Tensor& index, const Tensor& world2cam, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2);
  const Tensor grad = expect(grad_depth, ScalarType::Float, {v, h, w}, "splat: grad_depth must be float32 (V, h, w)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "splat: index must be int64 (V, h, w)");
  const Tensor m = expect(world2cam, ScalarType::Float, {v, 3, 4}, "splat: world2cam must be float32 (V, 3, 4)");
  guard_index(at, num_points);
  const Tensor out = empty_like(grad, {num_points, 3}, ScalarType::Float);
  float* sums = mutable_data<float>(out);
  std::fill_n(sums, 3 * num_points, 0.0f);
  for (int64_t i = 0; i < v * h * w; ++i) {  // in order: the sums must repeat bit for bit
    const int64_t point = data<int64_t>(at)[i];
    if (point < 0) continue;
    const float* row = data<float>(m) + 12 * (i / (h * w)) + 8;
    for (int a = 0; a < 3; ++a) sums[3 * point + a] += data<float>(grad)[i] * row[a];
  }
  return out;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("splat", TORCH_BOX(&mirage::splat));
  m.impl("splat_backward_features", TORCH_BOX(&mirage::splat_backward_features));
  m.impl("splat_backward_xyz", TORCH_BOX(&mirage::splat_backward_xyz));
}
