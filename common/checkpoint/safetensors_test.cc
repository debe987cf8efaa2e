#include "common/checkpoint/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/checkpoint/mapped_file.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/data/io.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Make(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string bytes(sizeof(size), '\0');
  std::memcpy(&bytes[0], &size, sizeof(size));
  return bytes + header + std::string(data_bytes, '\1');
}

std::string TemporaryPath(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/", name);
}

at::Tensor Get(const Safetensors& file, const std::string& name) {
  const auto tensor = file.Tensor(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  return tensor.ok() ? *tensor : at::Tensor();
}

// Written by the format's own package: testdata/make_testdata.py.
TEST(SafetensorsTest, ReadsWhatThePackageWrote) {
  const auto file = Safetensors::Open(
      "common/checkpoint/testdata/corpus/safetensors/mixed.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->names(),
              ElementsAre("f16", "f32", "flags", "i64", "none", "u8"));
  EXPECT_EQ(file->metadata().at("note"), "caf\xc3\xa9");
  EXPECT_TRUE(Get(*file, "f16").equal(at::arange(5, at::kHalf)));
  EXPECT_TRUE(Get(*file, "u8").equal(at::arange(3, at::kByte)));
  EXPECT_EQ(Get(*file, "i64").dim(), 0);
  EXPECT_EQ(Get(*file, "i64").item<int64_t>(), -7);
  EXPECT_EQ(Get(*file, "f32").scalar_type(), at::kFloat);
  EXPECT_EQ(Get(*file, "f32").sizes(), at::IntArrayRef({2, 3}));
  // numpy.random.default_rng(7).normal(size=(2, 3)).astype("f4")[1, 2].item()
  EXPECT_EQ(Get(*file, "f32")[1][2].item<float>(), -0.9916465282440186f);
  EXPECT_EQ(Get(*file, "none").sizes(), at::IntArrayRef({0, 4}));
  EXPECT_EQ(Get(*file, "flags").scalar_type(), at::kBool);
  EXPECT_EQ(file->Tensor("x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(file->Has("f32"));
  EXPECT_FALSE(file->Has("F32"));
}

TEST(SafetensorsTest, RoundTripOfEveryDtype) {
  const std::string path = TemporaryPath("round.safetensors");
  std::map<std::string, at::Tensor> tensors;
  for (const at::ScalarType type :
       {at::kBool, at::kByte, at::kChar, at::kShort, at::kHalf, at::kBFloat16,
        at::kInt, at::kFloat, at::kLong, at::kDouble, at::kFloat8_e4m3fn,
        at::kFloat8_e5m2, at::kUInt16, at::kUInt32, at::kUInt64}) {
    tensors[c10::toString(type)] = at::arange(7, at::kFloat).div(4).to(type);
  }
  tensors["scalar"] = at::full({}, 2.5);
  tensors["empty"] = at::empty({3, 0, 2});
  tensors["transposed"] = at::arange(6, at::kFloat).view({2, 3}).t();
  tensors["odd \"name\"\n"] = at::ones({1});
  const std::map<std::string, std::string> metadata = {{"a", "b\n\"c\""}};
  ASSERT_TRUE(SaveSafetensors(path, tensors, metadata).ok());
  const auto file = Safetensors::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata(), metadata);
  EXPECT_EQ(file->names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = Get(*file, name);
    ASSERT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    ASSERT_EQ(read.sizes(), tensor.sizes()) << name;
    EXPECT_TRUE(read.to(at::kDouble).equal(tensor.to(at::kDouble))) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.const_data_ptr()) %
                  read.element_size(),
              0);
  }
}

TEST(SafetensorsTest, ViewsOutliveTheFileAndDoNotChangeIt) {
  const std::string path = TemporaryPath("view.safetensors");
  ASSERT_TRUE(SaveSafetensors(path, {{"x", at::ones({4})}}).ok());
  at::Tensor view;
  {
    const auto file = Safetensors::Open(path);
    ASSERT_TRUE(file.ok());
    view = Get(*file, "x");
  }
  view.add_(1);
  EXPECT_TRUE(view.equal(at::full({4}, 2.0f)));
  EXPECT_TRUE(Get(*Safetensors::Open(path), "x").equal(at::ones({4})));
}

TEST(SafetensorsTest, MisalignedNumbersAreCopied) {
  const std::string path = TemporaryPath("misaligned.safetensors");
  const std::string bytes = Make(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"b\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[1,17]}}",
      17);
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  const auto file = Safetensors::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const at::Tensor b = Get(*file, "b");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.const_data_ptr()) % 8, 0);
  EXPECT_EQ(b[1].item<int64_t>(), 0x0101010101010101);
}

TEST(SafetensorsTest, ShardsJoinedByAnIndex) {
  const std::string folder = ::testing::TempDir();
  ASSERT_TRUE(SaveSafetensors(folder + "/model-1.safetensors",
                              {{"a", at::ones({1})}, {"b", at::zeros({2})}})
                  .ok());
  ASSERT_TRUE(
      SaveSafetensors(folder + "/model-2.safetensors", {{"c", at::ones({3})}})
          .ok());
  const std::string index = folder + "/model.safetensors.index.json";
  const auto write_index = [&index](const std::string& map) {
    return WriteFileAtomically(
        index,
        "{\"metadata\":{\"total_size\":24},\"weight_map\":{" + map + "}}");
  };
  ASSERT_TRUE(write_index("\"a\":\"model-1.safetensors\","
                          "\"b\":\"model-1.safetensors\","
                          "\"c\":\"model-2.safetensors\"")
                  .ok());
  for (const std::string& path : {index, folder}) {
    const auto file = Safetensors::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_THAT(file->names(), ElementsAre("a", "b", "c"));
    EXPECT_TRUE(Get(*file, "c").equal(at::ones({3})));
    EXPECT_TRUE(Get(*file, "b").equal(at::zeros({2})));
  }
  const std::pair<const char*, const char*> wrong[] = {
      {"\"z\":\"model-1.safetensors\"", "which has no such tensor"},
      {"\"a\":\"../model-1.safetensors\"", "no file name"},
      {"\"a\":\"/etc/passwd\"", "no file name"},
      {"\"a\":\"..\"", "no file name"},
      {"\"a\":\"\"", "no file name"},
      {"\"a\":3", "no file name"},
      {"\"a\":\"missing.safetensors\"", "missing.safetensors"},
      {"\"a\":\"model-1.safetensors\",\"a\":\"model-2.safetensors\"",
       "'a' comes twice"},
      {"\"a\"", "not valid JSON"},
  };
  for (const auto& [map, part] : wrong) {
    ASSERT_TRUE(write_index(map).ok());
    const auto file = Safetensors::Open(index);
    ASSERT_FALSE(file.ok()) << map;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(part));
  }
  ASSERT_TRUE(WriteFileAtomically(index, "{}").ok());
  EXPECT_EQ(Safetensors::Open(index).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SafetensorsTest, SaveRefusesWhatTheFormatLacks) {
  const std::string path = TemporaryPath("refused.safetensors");
  const std::pair<std::string, at::Tensor> wrong[] = {
      {"complex", at::ones({1}, at::kComplexFloat)},
      {"undefined", at::Tensor()},
      {"bad\xff", at::ones({1})},
      {"__metadata__", at::ones({1})},
  };
  for (const auto& [name, tensor] : wrong) {
    EXPECT_EQ(SaveSafetensors(path, {{name, tensor}}).code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_EQ(SaveSafetensors(path, {}, {{"k", "\xff"}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(MappedFile::Open(path).ok());
  EXPECT_FALSE(SaveSafetensors("/nonexistent/x", {{"x", at::ones({1})}}).ok());
}

constexpr char kValid[] =
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}}";

absl::Status StatusOf(const std::string& bytes) {
  return ParseSafetensorsHeader(bytes, "x.safetensors").status();
}

TEST(SafetensorsHeaderTest, TruncatedAtEveryByte) {
  const std::string whole = Make(kValid, 32);
  ASSERT_TRUE(StatusOf(whole).ok()) << StatusOf(whole);
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status = StatusOf(whole.substr(0, size));
    EXPECT_EQ(status.code(), size < 8 ? absl::StatusCode::kInvalidArgument
                                      : absl::StatusCode::kDataLoss)
        << size << " bytes: " << status;
  }
  EXPECT_THAT(std::string(StatusOf(whole + "x").message()),
              HasSubstr("ends at byte"));
}

// What a change to the valid header leads to.
TEST(SafetensorsHeaderTest, Malformed) {
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  constexpr auto kLoss = absl::StatusCode::kDataLoss;
  struct Case {
    const char* from;
    const char* to;
    absl::StatusCode code;
    const char* part;
  };
  const Case cases[] = {
      {"{\"a\":", " {\"a\":", kBad, "begin with '{'"},
      {"}}", "}", kBad, "not valid JSON"},
      {"\"b\"", "\"b\xff\"", kBad, "not valid JSON"},
      {"\"b\"", "\"a\"", kLoss, "'a' comes twice"},
      {"[4]", "[[[[4]]]]", kLoss, "nests deeper"},
      {"\"BF16\"", "\"F4\"", absl::StatusCode::kUnimplemented, "dtype 'F4'"},
      {"\"BF16\"", "16", kLoss, "'b' has no dtype"},
      {"\"dtype\":\"BF16\",", "", kLoss, "'b' is not described"},
      {"\"dtype\":\"BF16\"", "\"x\":1,\"dtype\":\"BF16\"", kLoss,
       "'b' is not described"},
      {"[4]", "4", kLoss, "has no shape"},
      {"[4]", "[-4]", kLoss, "'b' has a dimension"},
      {"[4]", "[4.0]", kLoss, "'b' has a dimension"},
      {"[4]", "[4611686018427387904,4]", kLoss, "overflows"},
      {"[4]", "[0,4611686018427387904,4]", kLoss, "overflows"},
      {"[4]", "[99999999999999999999]", kLoss, "'b' has a dimension"},
      {"[4]", "[5]", kLoss, "of 10 bytes but data_offsets of 8"},
      {"[24,32]", "[24]", kLoss, "data_offsets"},
      {"[24,32]", "[24,33]", kLoss, "data_offsets"},
      {"[24,32]", "[32,24]", kLoss, "data_offsets"},
      {"[24,32]", "[-8,0]", kLoss, "data_offsets"},
      {"[24,32]", "[24,18446744073709551615]", kLoss, "data_offsets"},
      {"[24,32]", "[16,24]", kLoss, "overlaps"},
      {"[2,3],\"data_offsets\":[0,24]", "[2,2],\"data_offsets\":[0,16]", kLoss,
       "leaves a hole"},
      {"{\"a\":", "{\"__metadata__\":{\"x\":1},\"a\":", kLoss, "__metadata__"},
      {"{\"a\":", "{\"__metadata__\":[\"x\"],\"a\":", kLoss, "__metadata__"},
  };
  for (const Case& c : cases) {
    const std::string header = absl::StrReplaceAll(kValid, {{c.from, c.to}});
    ASSERT_NE(header, kValid) << c.from;
    const absl::Status status = StatusOf(Make(header, 32));
    EXPECT_EQ(status.code(), c.code) << header << "\n" << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.part)) << header;
    EXPECT_THAT(std::string(status.message()), HasSubstr("x.safetensors"));
  }
}

TEST(SafetensorsHeaderTest, HugeHeader) {
  std::string bytes = Make(kValid, 32);
  for (const int byte : {3, 7}) {
    std::string huge = bytes;
    huge[byte] = '\x7f';
    EXPECT_THAT(std::string(StatusOf(huge).message()),
                HasSubstr("above the format's limit"));
  }
  EXPECT_EQ(StatusOf(Make(std::string(1 << 20, '['), 0)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StatusOf(Make("{\"a\":" + std::string(1 << 20, '['), 0)).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MappedFileTest, EmptyFileAndFolder) {
  const std::string path = TemporaryPath("empty");
  ASSERT_TRUE(WriteFileAtomically(path, "").ok());
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->bytes().empty());
  EXPECT_EQ(MappedFile::Open(::testing::TempDir()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro
