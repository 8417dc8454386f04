-module(broker_queue_tests).
-include_lib("eunit/include/eunit.hrl").

first_in_is_first_out_test() ->
    Queue = broker_queue:push(b, broker_queue:push(a, broker_queue:new())),
    ?assertMatch({a, _, _}, broker_queue:take(Queue)).
