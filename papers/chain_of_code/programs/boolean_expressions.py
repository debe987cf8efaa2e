expression = question.rsplit(" is", 1)[0]
answer = eval(expression)
