"""`nexthos dev`: a NATS server, a controller and a folder that is watched, in one process.

brought    which pipelines this folder brought, so that only those are ever removed
folder     what the files say, brought into the store
server     the embedded nats-server
leftovers  what a dev that was killed left running, ended
ending     somebody asks for the end; engines get a grace, or none
tally      messages in and out, from the engines' own metrics; messages by subject
screen     what is shown: a live table on a terminal, lines elsewhere
report     what is told at the end, and the exit code
session    between the start and the end of the server: bring, follow, show
running    all of it together, from start to end
"""
