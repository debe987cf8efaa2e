#include "common/http/event_stream.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The examples of the HTML standard, section 9.2.6.
TEST(EventStreamTest, ExamplesOfTheStandard) {
  EXPECT_THAT(EventData("data: YHOO\ndata: +2\ndata: 10\n\n"),
              ElementsAre("YHOO\n+2\n10"));
  EXPECT_THAT(EventData(": test stream\n\ndata: first event\nid: 1\n\n"
                        "data:second event\nid\n\ndata:  third event\n"),
              ElementsAre("first event", "second event"));
  EXPECT_THAT(EventData("data\n\ndata\ndata\n\ndata:"), ElementsAre("", "\n"));
  EXPECT_THAT(EventData("data:test\n\ndata: test\n\n"),
              ElementsAre("test", "test"));
}

TEST(EventStreamTest, AllLineEnds) {
  EXPECT_THAT(EventData("data: a\r\n\r\ndata: b\r\rdata: c\n\n"),
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(EventData("\xef\xbb\xbf"
                        "data: a\n\n"),
              ElementsAre("a"));
}

TEST(EventStreamTest, WhatIsBrokenOffIsNoEvent) {
  const std::string whole = "data: a\n\ndata: bc\n\n";
  for (size_t n = 0; n < whole.size(); ++n) {
    const size_t expected = n < 9 ? 0 : 1;
    EXPECT_EQ(EventData(whole.substr(0, n)).size(), expected) << n;
  }
  EXPECT_THAT(EventData(""), IsEmpty());
  EXPECT_THAT(EventData("\n\n\n"), IsEmpty());
  EXPECT_THAT(EventData(std::string(3, '\0')), IsEmpty());
  EXPECT_THAT(EventData("dat: a\n\ndatas: b\n\n data: c\n\n"), IsEmpty());
}

}  // namespace
}  // namespace repro::http
