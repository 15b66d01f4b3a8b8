Section 5: behaviours

5.1 disconnect keeps the port, which Linux forgets	behaviour::b01_disconnect, state::connect_and_back
5.2 the error of a disconnect that was made is none	bsd::disconnect
5.3 empty datagrams are messages	rules::empty_datagrams_are_received, recv::unnamed_sender, adopt::empty_datagrams_without_names
5.4 an empty list sends one empty datagram	rules::empty_datagrams_are_sent
5.5 the completion has the bytes of all pieces	behaviour::b05_bytes_of_a_completion
5.6 the list is copied, the bytes are not	rules::borrowed_until_completion, byname::bytes_are_borrowed_or_copied
5.7 1024 pieces, not more	send::bad_input, send::largest
5.8 65507 and 65527 bytes, not more	send::largest, send::mapped_limit, send::bad_input
5.9 65535 bytes are received, a cut is told	behaviour::b09_largest_by_default, recv::truncation
5.10 nothing comes back of unconnected sends	behaviour::b10_nobody_there, flush::recverr_unconnected
5.11 a dead peer: one error, each datagram tried again once	flush::dead_port_reading, flush::icmp_twice
5.12 an error without readiness; the handler closes	behaviour::b12_error_alone, poller::error_of_a_socket, flush::dead_port_not_reading
5.13 a pending error is told once, whoever takes it	behaviour::b13_pending_error, flush::icmp_in_a_batch
5.14 a failed send without completion is an error event	rules::failure_without_completion_is_an_error
5.15 with a completion it is not	states::result_of_a_send, rules::completion_when_failed
5.16 no completion inside of send	rules::no_callback_inside_a_call
5.17 ECANCELED comes before close	rules::completion_when_closed
5.18 a second close registers nothing	rules::second_close
5.19 no message after close, also of one batch	recv::stop_in_a_batch, states::order_no_message_after_close
5.20 bind again after a failure, with the same options	behaviour::b20_options_of_a_second_bind, states::reuse_after_a_failed_bind, state::bind_error_repeat
5.21 bind to a name is a look-up, its error has no address	states::result_of_a_bind_lookup, byname::bind_whose_name_fails
5.22 messages without a port of 0, without the peer when connected	behaviour::b22_message_of_bind, behaviour::b22_message_of_connect, behaviour::b22_message_of_send, behaviour::b22_message_of_a_look_up, behaviour::b22_message_of_a_large_one, behaviour::b22_message_of_a_connected_send, behaviour::b22_message_of_icmp, behaviour::b22_message_of_receiving, behaviour::b22_message_with_a_path, format::errors_as_node
5.23 ttl 1 to 255, multicast ttl 0 to 255	option::ttl_and_tos, mcast::ttl_and_loopback, input::groups
5.24 the ttl of mapped traffic is set, too	option::ttl_of_mapped_traffic
5.25 the family of an adopted descriptor is asked of it	behaviour::b25_ttl_of_an_adopted_one
5.26 so is its peer	adopt::connected
5.27 nothing is set on it	adopt::nothing_is_set
5.28 peers of IPv4 at a dual socket; the port is one	behaviour::b28_mapped_peers, option::ipv6_only
5.29 ipv6_only is written also when false	behaviour::b29_dual_where_it_is_not_the_default
5.30 zones by name and number, unknown ones refused	behaviour::b30_link_local, meta::link_local, addr::zones
5.31 on a shared address the last one has unicast, all have the rest	behaviour::b31_shared_address
5.32 reuse_addr and reuse_port	option::reuse
5.33 groups that others joined are not heard	behaviour::b33_groups_of_others, mcast::hears_what_it_joined, option::multicast_all
5.34 bound to a group: only that, and it sends	behaviour::b34_bound_to_a_group
5.35 bound to an address: no groups	behaviour::b35_bound_to_an_address
5.36 the family of a membership is that of the group	mcast::kernel_words, mcast::wrong
5.37 to the wildcard is to this machine	behaviour::b37_to_the_wildcard
5.38 what was queued before the connect is delivered	behaviour::b38_before_the_connect
5.39 names do not wait for each other; queues are bounded	states::order_of_names, byname::limits_count_them
5.40 EAGAIN keeps what waits in order	flush::eagain_keeps_order
5.41 while anything waits all wait	flush::eagain_keeps_order, send::try_while_something_waits
5.42 ENOBUFS waits for time, not for writability	flush::enobufs_backs_off, flush::enobufs_for_a_second
5.43 sendmmsg hides the error behind a count	mmsg::bad_one_real, flush::error_at_each_datagram
5.44 the error is that datagram's only	flush::error_at_each_datagram
5.45 names of length 0; close inside of a batch	recv::unnamed_sender, recv::stop_in_a_batch
5.46 where recvmmsg is none	recv::emulated, mmsg::all_counts_emulated
5.47 a busy socket starves nobody	recv::budget, recv::fairness
5.48 a report with nothing behind it is silent	recv::eagain_is_silent
5.49 errors of receiving close nothing	rules::receive_errors_close_nothing
5.50 a buffer size of 0 changes nothing; Linux doubles	option::buffer_sizes
5.51 listening comes from the loop, always	adopt::bound, lookup::at_once_for_all_kinds
5.52 unref before bind stays; what waits keeps the loop	socket::keeps_the_loop, lookup::keeps_the_loop_running
5.53 loopback off does not silence the loopback interface	mcast::loopback_of_the_loopback
5.54 a look-up that finds nothing	behaviour::b54_nothing_found, lookup::answers_that_are_none
5.55 a full AF_UNIX receiver is writable all the time	flush::full_unix_receiver
