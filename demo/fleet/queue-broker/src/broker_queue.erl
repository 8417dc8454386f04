%% A queue whose messages come back until they are acknowledged.
-module(broker_queue).
-export([new/0, push/2, take/1, ack/2]).

new() -> {queue:new(), #{}}.

push(Message, {Waiting, Taken}) -> {queue:in(Message, Waiting), Taken}.

%% Returns a message with its ticket, or empty.
take({Waiting, Taken}) ->
    case queue:out(Waiting) of
        {{value, Message}, Rest} ->
            Ticket = make_ref(),
            {Message, Ticket, {Rest, Taken#{Ticket => Message}}};
        {empty, _} ->
            empty
    end.

ack(Ticket, {Waiting, Taken}) -> {Waiting, maps:remove(Ticket, Taken)}.
