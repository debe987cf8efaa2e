#include "common/checkpoint/gguf.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/asset_store.h"
#include "common/checkpoint/dequantize.h"
#include "common/data/io.h"
#include "common/lm/default_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kTestdata[] = "common/checkpoint/testdata/";

template <typename T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(&bytes[0], &value, sizeof(T));
  return bytes;
}

std::string Text(const std::string& text) {
  return Bytes<uint64_t>(text.size()) + text;
}

std::string Key(const std::string& key, GgufValueType type,
                const std::string& value) {
  return Text(key) + Bytes(static_cast<uint32_t>(type)) + value;
}

std::string TensorInfo(const std::string& name,
                       const std::vector<uint64_t>& dims, uint32_t type,
                       uint64_t offset) {
  std::string info = Text(name) + Bytes<uint32_t>(dims.size());
  for (const uint64_t dim : dims) info += Bytes(dim);
  return info + Bytes(type) + Bytes(offset);
}

struct Header {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> keys;
  std::vector<std::string> tensors;
  uint64_t num_keys = 0;     // beyond those above
  uint64_t num_tensors = 0;  // beyond those above
  size_t alignment = 32;
  size_t data_bytes = 0;
};

std::string Make(const Header& header) {
  std::string bytes = header.magic + Bytes(header.version) +
                      Bytes(header.num_tensors + header.tensors.size()) +
                      Bytes(header.num_keys + header.keys.size());
  for (const std::string& key : header.keys) bytes += key;
  for (const std::string& tensor : header.tensors) bytes += tensor;
  if (header.data_bytes > 0) {
    bytes.resize((bytes.size() + header.alignment - 1) / header.alignment *
                 header.alignment);
    bytes.append(header.data_bytes, '\1');
  }
  return bytes;
}

absl::Status StatusOf(const std::string& bytes) {
  return ParseGguf(bytes, "x.gguf", nullptr).status();
}

void ExpectError(const Header& header, absl::StatusCode code,
                 const std::string& part) {
  const absl::Status status = StatusOf(Make(header));
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("x.gguf: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

// Two tensors of 8 and 32 floats.
Header TwoTensors() {
  Header header;
  header.keys = {
      Key("general.architecture", GgufValueType::kString, Text("llama"))};
  header.tensors = {TensorInfo("a", {4, 2}, 0, 0),
                    TensorInfo("b", {32}, 0, 32)};
  header.data_bytes = 32 + 128;
  return header;
}

std::shared_ptr<const GgufFile> OpenTestdata(const std::string& name) {
  auto file = OpenGguf(kTestdata + name);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *file : nullptr;
}

TEST(GgufTest, MetadataOfEveryType) {
  const auto file = OpenTestdata("corpus/gguf/values.gguf");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->version(), 3);
  EXPECT_TRUE(file->tensors().empty());
  EXPECT_EQ(*file->Int("u8"), 200);
  EXPECT_EQ(*file->Int("i8"), -3);
  EXPECT_EQ(*file->Int("u16"), 60000);
  EXPECT_EQ(*file->Int("i16"), -30000);
  EXPECT_EQ(*file->Int("u32"), 4000000000);
  EXPECT_EQ(*file->Int("i32"), -2000000000);
  EXPECT_EQ(file->Int("u64").status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(*file->Float("u64"), 18446744073709551616.0);
  EXPECT_EQ(*file->Int("i64"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(*file->Float("f32"), 0.5);
  EXPECT_EQ(*file->Float("f64"), 0.1);
  EXPECT_EQ(*file->Float("i8"), -3);
  EXPECT_EQ(*file->Bool("yes"), true);
  EXPECT_EQ(*file->String("text"), "caf\xc3\xa9");
  EXPECT_THAT(*file->Ints("ints"), ElementsAre(1, -2, 3));
  EXPECT_THAT(*file->Floats("ints"), ElementsAre(1, -2, 3));
  EXPECT_THAT(*file->Floats("floats"), ElementsAre(0.5, -1.5));
  EXPECT_THAT(*file->Ints("bools"), ElementsAre(1, 0));
  EXPECT_THAT(*file->Strings("strings"), ElementsAre("a", "",
                                                     "\xc4\xa0"
                                                     "b"));
  EXPECT_EQ(*file->ArraySize("strings"), 3);
  EXPECT_EQ(*file->ArraySize("nested"), 2);
}

TEST(GgufTest, GettersNameTheKeyThatIsWrong) {
  const auto file = OpenTestdata("corpus/gguf/values.gguf");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->Int("none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*file->Int("none", 7), 7);
  EXPECT_EQ(*file->Float("none", 0.25), 0.25);
  EXPECT_EQ(*file->Bool("none", true), true);
  EXPECT_EQ(*file->String("none", "x"), "x");
  const std::pair<absl::Status, const char*> wrong[] = {
      {file->Int("text", 1).status(), "'text' is of type string"},
      {file->Int("f32").status(), "'f32' is of type float32"},
      {file->Int("yes").status(), "'yes' is of type bool"},
      {file->Int("ints").status(), "'ints' is an array of int32"},
      {file->Float("yes").status(), "'yes' is of type bool"},
      {file->Bool("u8").status(), "'u8' is of type uint8"},
      {file->String("strings").status(), "'strings' is an array of string"},
      {file->Ints("floats").status(), "'floats' is an array of float32"},
      {file->Ints("i8").status(), "'i8' is of type int8"},
      {file->Floats("bools").status(), "'bools' is an array of bool"},
      {file->Floats("nested").status(), "'nested' is an array of array"},
      {file->Strings("nested").status(), "'nested' is an array of array"},
      {file->ArraySize("u8").status(), "'u8' is of type uint8"},
  };
  for (const auto& [status, part] : wrong) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
    EXPECT_THAT(std::string(status.message()), HasSubstr("values.gguf"));
  }
}

TEST(GgufTest, TensorsInRowMajorOrder) {
  const auto file = OpenTestdata("corpus/gguf/tensors.gguf");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(file->tensors().size(), 5);
  EXPECT_THAT((*file->Tensor("a"))->shape, ElementsAre(2, 3));
  EXPECT_EQ((*file->Tensor("b"))->type, GgmlType::kF16);
  EXPECT_THAT((*file->Tensor("c"))->shape, ElementsAre(2, 64));
  EXPECT_EQ((*file->Tensor("c"))->data.size(), 80);
  EXPECT_THAT((*file->Tensor("e"))->shape, ElementsAre(1, 2, 1, 16));
  EXPECT_EQ(Dequantize(**file->Tensor("e")).sum().item<float>(), 32);
  EXPECT_FALSE(file->HasTensor("f"));
  EXPECT_EQ(file->Tensor("f").status().code(), absl::StatusCode::kNotFound);
}

// Against gguf-py's own dequantisation; testdata/make_testdata.py wrote both.
TEST(DequantizeTest, EveryTypeMatchesTheReference) {
  const auto file = OpenTestdata("dequantize.gguf");
  ASSERT_NE(file, nullptr);
  int types = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    const std::string expected_name = tensor.name + ".expected";
    if (!file->HasTensor(expected_name)) continue;
    ++types;
    EXPECT_EQ(Info(tensor.type).name, tensor.name);
    const GgufTensor* expected = *file->Tensor(expected_name);
    const at::Tensor values = Dequantize(tensor);
    EXPECT_EQ(values.sizes(), at::IntArrayRef(expected->shape));
    // Both round to float32 after each operation, in different orders.
    EXPECT_TRUE(at::allclose(values, Dequantize(*expected), 1e-6, 1e-7))
        << tensor.name;
  }
  EXPECT_EQ(types, 14);
}

TEST(DequantizeTest, LongTensorsInPiecesEqualOneBlockAtATime) {
  const auto file = OpenTestdata("dequantize.gguf");
  ASSERT_NE(file, nullptr);
  const GgufTensor& q4 = **file->Tensor("Q4_K");
  constexpr int64_t kRepeats = 3001;
  std::string bytes;
  for (int64_t i = 0; i < kRepeats; ++i) {
    bytes.append(reinterpret_cast<const char*>(q4.data.data()), q4.data.size());
  }
  const GgufTensor many{
      "many",
      {kRepeats, 512},
      GgmlType::kQ4_K,
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}};
  const at::Tensor once = Dequantize(q4).reshape({1, 512});
  EXPECT_TRUE(Dequantize(many).equal(once.expand({kRepeats, 512})));
}

TEST(DequantizeTest, DataThatDoesNotFitThrows) {
  GgufTensor tensor{"short", {1, 32}, GgmlType::kQ4_0, {}};
  EXPECT_THROW(Dequantize(tensor), c10::Error);
}

TEST(GgufMalformedTest, WhatIsNotGguf) {
  Header header = TwoTensors();
  ASSERT_TRUE(StatusOf(Make(header)).ok());
  header.magic = "GGML";
  ExpectError(header, absl::StatusCode::kInvalidArgument, "'GGML'");
  EXPECT_EQ(StatusOf("").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenGguf("/nonexistent/x").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(OpenGguf("/tmp").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenGguf("/dev/zero").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(GgufMalformedTest, Versions) {
  Header header = TwoTensors();
  header.version = 2;
  EXPECT_TRUE(StatusOf(Make(header)).ok());
  for (const uint32_t version : {0, 1, 4}) {
    header.version = version;
    ExpectError(header, absl::StatusCode::kUnimplemented,
                absl::StrCat("version ", version));
  }
  header.version = 3u << 24;
  ExpectError(header, absl::StatusCode::kUnimplemented, "big-endian");
}

TEST(GgufMalformedTest, TruncatedAtEveryByte) {
  const std::string whole = Make(TwoTensors());
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status = StatusOf(whole.substr(0, size));
    EXPECT_EQ(status.code(), size < 4 ? absl::StatusCode::kInvalidArgument
                                      : absl::StatusCode::kDataLoss)
        << size << " bytes: " << status;
  }
  EXPECT_TRUE(StatusOf(whole + std::string(40, '\0')).ok()) << "padding";
}

TEST(GgufMalformedTest, HugeCounts) {
  for (const uint64_t count :
       {uint64_t{1} << 20, uint64_t{1} << 60, ~uint64_t{0} - 2}) {
    Header header = TwoTensors();
    header.num_keys = count;
    ExpectError(header, absl::StatusCode::kDataLoss, "number of metadata keys");
    header = TwoTensors();
    header.num_tensors = count;
    ExpectError(header, absl::StatusCode::kDataLoss, "number of tensors");
    header = TwoTensors();
    header.keys.push_back(Key("k", GgufValueType::kString, Bytes(count)));
    ExpectError(header, absl::StatusCode::kDataLoss, "'k' is cut off");
    for (const GgufValueType type :
         {GgufValueType::kUint8, GgufValueType::kFloat64,
          GgufValueType::kString, GgufValueType::kArray}) {
      header = TwoTensors();
      header.keys.push_back(
          Key("k", GgufValueType::kArray,
              Bytes(static_cast<uint32_t>(type)) + Bytes(count)));
      ExpectError(header, absl::StatusCode::kDataLoss, "'k'");
    }
    header = TwoTensors();
    header.keys.push_back(Bytes(count) + "k");
    ExpectError(header, absl::StatusCode::kDataLoss, "metadata key 1");
  }
}

TEST(GgufMalformedTest, Names) {
  Header header = TwoTensors();
  header.keys.push_back(header.keys[0]);
  ExpectError(header, absl::StatusCode::kDataLoss,
              "'general.architecture' comes twice");
  header = TwoTensors();
  header.tensors[1] = TensorInfo("a", {32}, 0, 32);
  ExpectError(header, absl::StatusCode::kDataLoss, "tensor 'a' comes twice");
  header = TwoTensors();
  header.tensors[1] = TensorInfo("b\xff", {32}, 0, 32);
  ExpectError(header, absl::StatusCode::kDataLoss, "is not UTF-8");
  header = TwoTensors();
  header.tensors[1] = TensorInfo("", {32}, 0, 32);
  ExpectError(header, absl::StatusCode::kDataLoss, "has 0 bytes");
  header = TwoTensors();
  header.keys[0] = Key("k\xc0\x80", GgufValueType::kBool, "\1");
  ExpectError(header, absl::StatusCode::kDataLoss, "is not UTF-8");
  header.keys[0] = Key(std::string(70000, 'k'), GgufValueType::kBool, "\1");
  ExpectError(header, absl::StatusCode::kDataLoss, "has 70000 bytes");
  header.keys[0] = Key("k", GgufValueType::kString, Text("\xed\xa0\x80"));
  ExpectError(header, absl::StatusCode::kDataLoss, "is not UTF-8");
}

TEST(GgufMalformedTest, Values) {
  Header header = TwoTensors();
  header.keys[0] = Key("k", static_cast<GgufValueType>(13), "");
  ExpectError(header, absl::StatusCode::kDataLoss, "unknown type 13");
  header.keys[0] = Key("k", GgufValueType::kBool, "\2");
  ExpectError(header, absl::StatusCode::kDataLoss, "neither 0 nor 1");
  std::string nested = Bytes<uint32_t>(0) + Bytes<uint64_t>(0);
  for (int i = 0; i < 10; ++i) {
    nested.insert(0, Bytes<uint32_t>(9) + Bytes<uint64_t>(1));
  }
  header.keys[0] = Key("k", GgufValueType::kArray, nested);
  ExpectError(header, absl::StatusCode::kDataLoss, "nests arrays deeper");
}

TEST(GgufMalformedTest, Shapes) {
  const uint64_t huge = uint64_t{1} << 32;
  const std::pair<std::vector<uint64_t>, const char*> cases[] = {
      {{}, "has 0 dimensions"},
      {{1, 1, 1, 1, 1, 1, 1, 1, 1}, "has 9 dimensions"},
      {{32, 0}, "which is 0 or overflows"},
      {{~uint64_t{0}}, "which is 0 or overflows"},
      {{huge, huge}, "which is 0 or overflows"},
      {{huge / 2, huge / 2, 2, 4}, "which is 0 or overflows"},
      {{huge, huge / 4}, "more than the file's"},
      {{41}, "ends beyond the file's"},
  };
  for (const auto& [dims, part] : cases) {
    Header header = TwoTensors();
    header.tensors[1] = TensorInfo("b", dims, 0, 32);
    ExpectError(header, absl::StatusCode::kDataLoss, part);
  }
  Header header = TwoTensors();
  header.tensors[1] = TensorInfo("b", {33, 32}, 2, 32);
  ExpectError(header, absl::StatusCode::kDataLoss,
              "rows of 33 elements, but Q4_0 comes in blocks of 32");
}

TEST(GgufMalformedTest, TypesAndOffsets) {
  Header header = TwoTensors();
  for (const uint32_t type : {4u, 9u, 31u, 4000000000u}) {
    header.tensors[1] = TensorInfo("b", {32}, type, 32);
    ExpectError(header, absl::StatusCode::kUnimplemented,
                absl::StrCat("ggml type ", type));
  }
  header.tensors[1] = TensorInfo("b", {32}, 0, 33);
  ExpectError(header, absl::StatusCode::kDataLoss, "not a multiple of 32");
  header.tensors[1] = TensorInfo("b", {32}, 0, 64);
  ExpectError(header, absl::StatusCode::kDataLoss, "ends beyond");
  header.tensors[1] = TensorInfo("b", {32}, 0, ~uint64_t{0} - 31);
  ExpectError(header, absl::StatusCode::kDataLoss, "ends beyond");
  header.tensors[1] = TensorInfo("b", {32}, 0, 0);
  ExpectError(header, absl::StatusCode::kDataLoss, "overlaps tensor");
}

TEST(GgufMalformedTest, Alignment) {
  Header header = TwoTensors();
  for (const uint32_t alignment : {0u, 1u, 24u, 1u << 17, 1u << 31}) {
    header.keys[0] =
        Key("general.alignment", GgufValueType::kUint32, Bytes(alignment));
    ExpectError(header, absl::StatusCode::kDataLoss, "general.alignment");
  }
  header.keys[0] = Key("general.alignment", GgufValueType::kString, Text("x"));
  ExpectError(header, absl::StatusCode::kInvalidArgument, "general.alignment");
  header.keys[0] =
      Key("general.alignment", GgufValueType::kUint32, Bytes<uint32_t>(64));
  header.tensors[1] = TensorInfo("b", {32}, 0, 64);
  header.alignment = 64;
  header.data_bytes = 64 + 128;
  EXPECT_TRUE(StatusOf(Make(header)).ok()) << StatusOf(Make(header));
}

TEST(GgufMalformedTest, NoTensors) {
  EXPECT_TRUE(StatusOf(Make(Header())).ok()) << StatusOf(Make(Header()));
}

// The numbers of the model's card.
TEST(GgufTest, SmolLm2) {
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = true;
  const auto located = AssetStore(options).Locate(lm::DefaultModel());
  if (absl::IsNotFound(located.status())) {
    GTEST_SKIP() << "the model is not on this machine";
  }
  ASSERT_TRUE(located.ok()) << located.status();
  const auto file = OpenGguf(located->path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*(*file)->Int("llama.block_count"), 30);
  EXPECT_EQ(*(*file)->ArraySize("tokenizer.ggml.tokens"), 49152);
  EXPECT_EQ((*file)->Strings("tokenizer.ggml.tokens")->size(), 49152);
  EXPECT_FALSE((*file)->HasTensor("blk.30.attn_q.weight"));
  const auto norm = (*file)->Tensor("blk.29.attn_norm.weight");
  ASSERT_TRUE(norm.ok()) << norm.status();
  EXPECT_THAT((*norm)->shape, ElementsAre(576));
  int64_t parameters = 0;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    parameters += tensor.numel();
  }
  EXPECT_EQ(parameters, 134515008);
  // Weights around zero of a width that layers of 576 inputs have.
  const at::Tensor q = Dequantize(**(*file)->Tensor("blk.0.attn_q.weight"));
  EXPECT_LT(q.mean().abs().item<double>(), 0.01);
  EXPECT_GT(q.std().item<double>(), 0.01);
  EXPECT_LT(q.std().item<double>(), 1);
}

}  // namespace
}  // namespace repro
