sequence = question.split("Input: ")[1].split()
closing = {"(": ")", "[": "]", "{": "}", "<": ">"}
stack = []
for symbol in sequence:
  if symbol in closing:
    stack.append(closing[symbol])
  else:
    stack.pop()
answer = " ".join(reversed(stack))
