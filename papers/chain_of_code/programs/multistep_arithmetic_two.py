expression = question.rsplit("=", 1)[0]
answer = eval(expression)
