#include "papers/survey_code_intelligence/test_survey.h"

#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"

namespace repro::survey_code_intelligence {

std::map<std::string, std::string> SmallFiles() {
  return {
      {"references",
       "ref,first_author,year,venue_class,title,arxiv_id,cited_on_pages\n"
       "1,A. One,2019,ACL,Searching code by neural models,1901.00001,1;2;4\n"
       "2,B. Two,2021,,Neural code search,2107.03374,2;4\n"
       "3,C. Three,,,\"Bugs, and \"\"repairs\"\" of bugs\",,3\n"
       "4,D. Four,2023,ICSE,Repairs of bugs by neural models,,3;4\n"
       "5,E. Five,2023,ICSE,Neural code search,,5\n"},
      {"benchmarks",
       "table,category,dataset,ref,year,n_pls,size_facts,metric\n"
       "1,Repair,Fixes,1,2019,2,7K;93,\n"
       "1,Search,Finds,2,2021,1,over 1M,\n"
       "5,Writing,Tasks,3;4,2023,-,12,\n"
       "6,Repair,Fixes,1,2019,2,6971;93,Acc.\n"
       "7,Search,Finds,2,2021,6,100K,MRR/Acc.\n"
       "7,Search,Mixed,5,2022,>40,,pass@k/EM\n"
       "9,Writing,Tasks,3;4,2023,-,over 10,-\n"},
      {"codeptms",
       "architecture,model,ref,uses_structure,base,objectives,size\n"
       "Encoder,Code-Bert,1,no,,MLM;NSP,125M/1.5B\n"},
      {"corpora",
       "dataset,ref,size,n_pls\nStack,2,6.4TB / 546M files,358\n"
       "Old,,2.8M files,>6\n"},
      {"codellms",
       "architecture,model,ref,sizes,base,vocab,context,objective,data_scale,"
       "public\n"
       "Enc-Dec,Alpha,1,284M/1.1B,,8.0K,1536+768,MLM+CLM,354B/590B,no\n"
       "Decoder,Beta,2,6.1B/16.1B,,50.3K,16384,FIM,1T/815GB,yes\n"
       "Decoder,Gamma,3,7B,Alpha,,,FIM,,\n"},
      {"ptm_objectives",
       "model,ref,abbr,objective\nCodeBERT,1,MLM,masked words\n"},
      {"sections",
       "section,topic,first_page\n1,Start,1\n2,Middle,2\n2.1,More,2\n"
       "3,End,4\n"},
      {"reading_lists",
       "list,section,short_name,title,venue,arxiv_id,year,month\n"
       "Repair,,A,One,ICSE,2107.03374,2021,07\n"
       "Repair,,B,Two,,2107.03374,2021,08\n"
       "Search,,C,Three,,2107.03374,,\n"},
      {"fig1_cumulative_publications",
       "year,cumulative_count\n2020,10\n2021,25\n"},
      {"fig2_milestones",
       "model,first_author,phase,approx_year_on_axis\n"
       "Alpha,Four & <Five>,large models,2021\n"},
      {"fig3_model_tree", "branch,model\nDecoder,beta\nDecoder,Delta\n"},
      {"fig5_humaneval_pass1",
       "family,size,variant,humaneval_pass_at_1\nBeta,16B,,20.50\n"
       "Beta,7B,mono,30.00\n"},
  };
}

absl::StatusOr<Survey> ReadFiles(
    const std::map<std::string, std::string>& files) {
  // Without an fsync a file: tests write thousands.
  for (const auto& [name, content] : files) {
    std::ofstream file(absl::StrCat(testing::TempDir(), "/", name, ".csv"),
                       std::ios::binary);
    file << content;
    file.close();
    EXPECT_TRUE(file) << name;
  }
  return ReadSurvey(testing::TempDir());
}

}  // namespace repro::survey_code_intelligence
