statements = question.split("Question: ")[1].split(". ")
asked = statements.pop().split()[1]
truthful = {}
for statement in statements:
  words = statement.split()
  speaker = words[0]
  if words[1] == "says":
    claimed = words[-1] == "truth"
    truthful[speaker] = truthful[words[2]] == claimed
  else:
    truthful[speaker] = words[-1] == "truth"
answer = "Yes" if truthful[asked] else "No"
