Section 3.1: test/parallel and test/sequential, sending

bytes-length	parallel::bytes_length
custom-lookup	parallel::custom_lookup
default-lookup-ip	parallel::default_lookup_ip
msgsize	parallel::msgsize
oob-buffer	parallel::oob_buffer
send-address-types	parallel::send_address_types
send-bad-arguments	parallel::send_bad_arguments
send-callback-buffer	parallel::send_callback_buffer
send-callback-buffer-empty-address	parallel::send_callback_buffer_empty_address
send-callback-buffer-length	parallel::send_callback_buffer_length
send-callback-buffer-length-empty-address	parallel::send_callback_buffer_length_empty_address
send-callback-multi-buffer	parallel::send_callback_multi_buffer
send-callback-multi-buffer-empty-address	parallel::send_callback_multi_buffer_empty_address
send-callback-recursive	parallel::send_callback_recursive
send-cb-quelches-error	parallel::send_cb_quelches_error
send-default-host	parallel::send_default_host
send-empty-array	parallel::send_empty_array
send-empty-buffer	parallel::send_empty_buffer
send-empty-packet	parallel::send_empty_packet
send-error	parallel::send_error
send-multi-buffer-copy	parallel::send_multi_buffer_copy
send-multi-string-array	parallel::send_multi_string_array
send-queue-info	parallel::send_queue_info
sendto	parallel::sendto
udp4	parallel::udp4
udp6-send-default-host	parallel::udp6_send_default_host
sequential/pingpong	sequential::pingpong

Section 3.2: other directories

parallel/child-process-dgram-reuseport	parallel::child_process_dgram_reuseport
parallel/child-process-fork-dgram	parallel::child_process_fork_dgram
parallel/cluster-dgram-1	parallel::cluster_dgram_1
parallel/cluster-dgram-2	parallel::cluster_dgram_2
parallel/cluster-dgram-bind-fd	parallel::cluster_dgram_bind_fd
parallel/cluster-dgram-ipv6only	none: there is no cluster module; the two binds are in ipv6only
parallel/cluster-dgram-reuse	parallel::cluster_dgram_reuse
parallel/cluster-dgram-reuseport	parallel::cluster_dgram_reuseport
parallel/cluster-child-index-dgram	none: there is no cluster module; a port of the kernel's choice is in bind-default-address
parallel/cluster-disconnect-unshared-udp	none: there is no cluster module
parallel/diagnostics-channel-udp	none: there are no diagnostics channels
parallel/permission-net-udp	none: there is no permission model
async-hooks/test-udpwrap	none: there are no hooks of handles; each test counts its descriptors
async-hooks/test-udpsendwrap	async_hooks::udpsendwrap
async-hooks/test-async-local-storage-dgram	none: what a callback belongs to is its argument
known_issues/bind-shared-ports-after-port-0	none: there is no cluster module
internet/broadcast-multi-process	internet::broadcast_multi_process
internet/multicast-multi-process	internet::multicast_multi_process, mcast::several_members
internet/multicast-set-interface-lo	internet::multicast_set_interface_lo, mcast::steered, mcast::loopback_of_the_loopback
internet/multicast-ssm-multi-process	internet::multicast_ssm_multi_process, mcast::sources
internet/multicast-ssmv6-multi-process	internet::multicast_ssmv6_multi_process, mcast::sources
benchmark/dgram	none: make bench runs the benchmarks

Section 3.3: tests that are not shipped any more

dgram-unix	node04::dgram_unix
dgram-unix-anon	node04::dgram_unix_anon
dgram-multicast	node04::dgram_multicast, mcast::binds, mcast::ttl_and_loopback
dgram-pingpong	node04::dgram_pingpong
dgram-send-error	node04::dgram_send_error, node04::dgram_send_error_at_once
dgram-oob-buffer	none: C does not know how long a buffer is
dgram-empty-packet	parallel::send_empty_packet
dgram-send-empty-buffer	parallel::send_empty_buffer
dgram-regress-4496	none: the type of a message is checked by the compiler

Section 3.4: IoT.js

test_dgram_1_server_1_client	iotjs::1_server_1_client
test_dgram_1_server_n_clients	iotjs::1_server_n_clients
test_dgram_address	iotjs::address
test_dgram_broadcast	iotjs::broadcast
test_dgram_multicast_membership	iotjs::multicast_membership, mcast::hears_what_it_joined
test_dgram_multicast_set_multicast_loop	iotjs::multicast_set_multicast_loop, mcast::ttl_and_loopback
test_dgram_setttl_client	iotjs::setttl
test_dgram_setttl_server	iotjs::setttl
issue-1904	none: the types of arguments are checked by the compiler
