import re
things, kind = re.match(r"I have (.*)\. How many (.*) do I have", question).groups()
numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"]
count = 0
for thing in re.split(r", and |, | and ", things):
  number, noun = thing.split(" ", 1)
  claim = f"{noun} is one of the {kind}"
  counted = is_true(claim, ret_type="bool")
  if counted:
    count += numbers.index(number) if number in numbers else 1
answer = count
