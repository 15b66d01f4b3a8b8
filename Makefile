# SPDX-License-Identifier: ISC
#
# Works with GNU make and BSD make.
#
#	make			the library
#	make test		the tests; installs Criterion if it is missing
#	make test-mini		the same with a small runner, which needs nothing
#	make demo		echo over udp4, udp6 and unix paths
#	make demo-embed		echo inside of the loops of libevent and libuv
#	make check		the tests and all that can be checked
#	make model STEPS=100000000 SEED=1
#				random programs beside a model of the library
#	make check-matrix	the tests on other processors, C libraries and
#				kernels, each also alone: make check-tsan
#	make check-cross	compiles for other systems; may have npm fetch zig
#	make install		PREFIX, DESTDIR
#	make bench		against the bare system calls
#	make bench-resolve	against getaddrinfo
#
# V=1 shows the commands, WERROR=-Werror makes warnings errors.  O=dir builds
# elsewhere, under this directory, for example with sanitizers beside a plain build:
#
#	make O=out-asan CFLAGS="-O1 -g -fsanitize=address,undefined \
#	    -fno-sanitize-recover=all" test

.OBJDIR: .
.SUFFIXES:

VERSION !=	sed -n 's/^.define DGRAM_VERSION "\(.*\)"/\1/p' include/dgram.h
PREFIX ?=	/usr/local
INCDIR ?=	${PREFIX}/include
LIBDIR ?=	${PREFIX}/lib
MANDIR ?=	${PREFIX}/share/man
DESTDIR ?=
INSTALL ?=	install
CFLAGS ?=	-O2 -g
O ?=		out

WARN =	-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wundef -Wvla
# One section for each function: a static daemon drops those it does not use.
SECTIONS =	-ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
# How a daemon that must be small is built: make check-static tells its size.
# Without the second line each change of protection costs a page of the file.
SIZE_CFLAGS =	-Os -flto -ffat-lto-objects -fno-asynchronous-unwind-tables
SIZE_LDFLAGS =	-Wl,-z,noseparate-code
DEPS =		-MMD -MP -MF $@.d -MT $@

# The library; the tests, which look into it too; what a user's program is.  The
# flags of the user come last and win.
CC_ALL =	${CC} -std=c11 -Iinclude -Isrc ${DEPS} ${WARN} ${WERROR} \
		${SECTIONS} ${CPPFLAGS} ${CFLAGS}
# The fake <sys/event.h> is for a system that has none.
CC_TEST =	${CC} -std=c11 -Iinclude -Isrc -Itests \
		-idirafter tests/fake ${DEPS} ${WARN} \
		${WERROR} ${CPPFLAGS} ${CFLAGS}
CC_USER =	${CC} -std=gnu11 -Iinclude ${DEPS} ${WARN} ${WERROR} \
		${CPPFLAGS} ${CFLAGS}

Q_ =	@
Q_1 =
Q =	${Q_${V}}

OBJS =	${O}/core/heap.o ${O}/core/mem.o ${O}/core/os.o ${O}/core/file.o \
	${O}/core/mmsg.o ${O}/core/cmsg.o \
	${O}/core/ifaddr.o ${O}/core/addr.o ${O}/core/format.o ${O}/core/err.o \
	${O}/poll/poller.o ${O}/poll/epoll.o ${O}/poll/kqueue.o \
	${O}/poll/poll.o \
	${O}/core/loop.o ${O}/core/timer.o ${O}/core/watch.o ${O}/core/wake.o \
	${O}/core/fork.o ${O}/core/arena.o \
	${O}/core/socket.o ${O}/core/error.o ${O}/core/state.o \
	${O}/core/adopt.o \
	${O}/core/access.o ${O}/core/meta.o ${O}/core/rights.o \
	${O}/core/recv.o ${O}/core/send.o ${O}/core/batch.o \
	${O}/core/queue.o ${O}/core/flush.o ${O}/core/hold.o \
	${O}/core/peer.o ${O}/core/named.o \
	${O}/core/option.o ${O}/core/mreq.o ${O}/core/mcast.o \
	${O}/core/unix.o ${O}/core/node.o ${O}/core/path.o ${O}/core/stats.o \
	${O}/core/blocklist.o ${O}/core/abort.o \
	${O}/resolve/table.o ${O}/resolve/gai.o ${O}/resolve/worker.o \
	${O}/resolve/lookup.o ${O}/resolve/resolve.o ${O}/resolve/byname.o

TESTS =	list heap mem os mmsg cmsg addr format err fake_kqueue poller kqueue \
	arena loop timer watch wake threads embed fork socket state adopt \
	access states recv send queue flush hold peer meta rights option mcast \
	unix path stats blocklist abort table gai worker lookup resolve byname \
	faults rules input bsd model examples tools
# What Node does, row by row: tests/conformance/README.
CONFORMANCE =	bind connect lifecycle option send behaviours messages \
	share old iotjs
# The model of the library over the simulated network.
MODEL_HELP =	${O}/tests/sim.o ${O}/tests/model.o ${O}/tests/play.o
TEST_BINS =	${TESTS:%=${O}/tests/test_%} \
		${CONFORMANCE:%=${O}/tests/conformance/%}
TEST_HELP =	${O}/tests/support.o ${O}/tests/fault_os.o \
	${O}/tests/fake_kqueue.o ${O}/tests/kqueue_on_fake.o \
	${O}/tests/bsd_os.o ${O}/tests/kernel_as_bsd.o ${MODEL_HELP}
MINI_MODEL =	${O}/mini/sim.o ${O}/mini/model.o ${O}/mini/play.o
# The same with the small runner.
MINI_BINS =	${TESTS:%=${O}/mini/test_%} \
		${CONFORMANCE:%=${O}/mini/conformance/%}
MINI_HELP =	${O}/mini/support.o ${O}/mini/fault_os.o \
	${O}/mini/fake_kqueue.o ${O}/mini/kqueue_on_fake.o \
	${O}/mini/bsd_os.o ${O}/mini/kernel_as_bsd.o ${O}/mini/mini.o \
	${MINI_MODEL}

EXAMPLES =	echo unix_echo syslogd daemon dnsforward resolve lookup demo \
	server multi_buffer connected broadcast syslog_send adopt workers \
	abort multicast notify notify_server pass_fd
EXAMPLE_BINS =	${EXAMPLES:%=${O}/examples/%}
# The loop inside of others' loops, embed_ and the name that pkg-config knows.
EMBEDS =	embed_libevent embed_libuv
EMBED_BINS =	${EMBEDS:%=${O}/examples/%}

BENCH_BINS =	${O}/bench/pps ${O}/bench/instr ${O}/bench/rawinstr

all: ${O}/libdgram.a ${O}/libdgram.pc

${OBJS}: Makefile
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_ALL} -c ${@:${O}/%.o=src/%.c} -o $@

${O}/libdgram.a: ${OBJS}
	@echo "  AR   $@"; rm -f $@
	${Q}${AR} rcs $@ ${OBJS}

# Made each time, for PREFIX may differ; touched only if it does.
${O}/libdgram.pc: FORCE
	@mkdir -p ${@D}
	@printf '%s\n' 'prefix=${PREFIX}' 'libdir=${LIBDIR}' \
	    'includedir=${INCDIR}' '' 'Name: libdgram' \
	    'Description: datagram sockets on an event loop' \
	    'Version: ${VERSION}' 'Libs: -L$${libdir} -ldgram -pthread' \
	    'Cflags: -I$${includedir}' > $@.new
	@if cmp -s $@.new $@; then rm -f $@.new; \
	else echo "  GEN  $@"; mv -f $@.new $@; fi

FORCE:

# ---- tests ----

${O}/criterion: tests/install-criterion.sh
	@mkdir -p ${@D}
	@CC="${CC}" CPPFLAGS="${CPPFLAGS}" LDFLAGS="${LDFLAGS}" \
	    sh tests/install-criterion.sh
	@touch $@

${TEST_HELP}: Makefile ${O}/criterion
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_TEST} -c ${@:${O}/%.o=%.c} -o $@

${TEST_BINS}: ${TEST_HELP} ${O}/libdgram.a
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_TEST} -DDGT_EXAMPLES='"${O}/examples"' ${@:${O}/%=%.c} \
	    ${TEST_HELP} ${O}/libdgram.a ${LDFLAGS} -lcriterion -pthread -o $@

# Runs them.  Those of the small runner do without.
${O}/tests/test_examples: ${EXAMPLE_BINS}

# Without the test library: what the model needs is in the objects of the tests.
${O}/model: Makefile tests/model_main.c ${MINI_MODEL} ${O}/libdgram.a
	@echo "  CC   $@"
	${Q}${CC_TEST} -DDGT_MINI tests/model_main.c ${MINI_MODEL} \
	    ${O}/libdgram.a ${LDFLAGS} -pthread -o $@

# Random programs beside a model of the library: STEPS and SEED decide the run.
STEPS ?=	100000000
SEED ?=		1

model: ${O}/model
	@${O}/model ${STEPS} ${SEED}

check-model: ${O}/model
	@${O}/model 1000000 ${SEED}

tests: ${TEST_BINS}

test: ${TEST_BINS}
	@sh tests/run.sh ${TEST_BINS}

${MINI_HELP}: Makefile
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_TEST} -DDGT_MINI -c ${@:${O}/mini/%.o=tests/%.c} -o $@

${MINI_BINS}: ${MINI_HELP} ${O}/libdgram.a
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_TEST} -DDGT_MINI ${@:${O}/mini/%=tests/%.c} ${MINI_HELP} \
	    ${O}/libdgram.a ${LDFLAGS} -pthread -o $@

tests-mini: ${MINI_BINS}

test-mini: ${MINI_BINS}
	@sh tests/run-mini.sh ${MINI_BINS}

# ---- checks ----

check: test check-model check-layers check-states check-conformance \
	check-symbols check-headers check-readme check-install check-static \
	check-man check-mutants demo demo-embed

# The tests with the small runner, elsewhere; matrix.sh says what each is.
MATRIX =	check-tsan check-asan check-musl check-m32 check-s390x \
	check-armv7 check-bsd check-enosys

${MATRIX}:
	@MAKE="${MAKE}" TESTS="${TESTS}" CONFORMANCE="${CONFORMANCE}" \
	    WERROR="${WERROR}" sh tests/matrix.sh ${O} ${@:check-%=%}

check-matrix: ${MATRIX}

${O}/enosys: Makefile tests/enosys.c
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_USER} tests/enosys.c ${LDFLAGS} -o $@

check-layers:
	@sh tests/check-layers.sh

check-states:
	@sh tests/check-states.sh

check-conformance:
	@sh tests/check-conformance.sh

check-symbols: ${O}/libdgram.a
	@sh tests/check-symbols.sh ${O}/libdgram.a

check-headers:
	@CC="${CC}" CXX="${CXX}" WARN="${WARN}" CPPFLAGS="${CPPFLAGS}" \
	    sh tests/check-headers.sh

check-install: all
	@CC="${CC}" CFLAGS="${CFLAGS}" LDFLAGS="${LDFLAGS}" MAKE="${MAKE}" \
	    PREFIX="${PREFIX}" sh tests/check-install.sh ${O}

check-readme: ${O}/libdgram.a
	@CC="${CC}" sh tests/check-readme.sh ${O}

check-static: ${O}/libdgram.a
	@CC="${CC}" CPPFLAGS="${CPPFLAGS}" CFLAGS="${CFLAGS}" \
	    LDFLAGS="${LDFLAGS}" MAKE="${MAKE}" SIZE_CFLAGS="${SIZE_CFLAGS}" \
	    SIZE_LDFLAGS="${SIZE_LDFLAGS}" sh tests/check-static.sh ${O}

check-man:
	@CC="${CC}" sh tests/check-man.sh

check-cross:
	@MAKE="${MAKE}" sh tests/check-cross.sh ${O}/cross

check-mutants: ${O}/criterion
	@MAKE="${MAKE}" TESTS="${TESTS}" sh tests/check-mutants.sh

# ---- examples, benchmarks ----

${EXAMPLE_BINS}: Makefile ${O}/libdgram.a
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_USER} ${@:${O}/examples/%=man/examples/%.c} ${O}/libdgram.a \
	    ${LDFLAGS} -pthread -o $@

examples: ${EXAMPLE_BINS}

# Asks the forwarder, which the demo does not know.
${O}/tests/forward: Makefile tests/forward.c
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_USER} tests/forward.c ${LDFLAGS} -o $@

demo: ${EXAMPLE_BINS} ${O}/tests/forward
	@${O}/examples/demo ${O}/examples
	@${O}/tests/forward ${O}/examples/dnsforward

# Left out, and said so, where the other library is not there.
${EMBED_BINS}: Makefile ${O}/libdgram.a
	@mkdir -p ${@D}
	${Q}lib=${@:${O}/examples/embed_%=%}; \
	if ! pkg-config --exists $$lib 2> /dev/null; then \
		echo "  SKIP $@: pkg-config finds no $$lib"; \
		exit 0; \
	fi; \
	echo "  CC   $@"; \
	${CC_USER} $$(pkg-config --cflags $$lib) man/examples/embed_$$lib.c \
	    ${O}/libdgram.a $$(pkg-config --libs $$lib) ${LDFLAGS} -o $@

examples-embed: ${EMBED_BINS}

demo-embed: ${O}/examples/demo ${EMBED_BINS}
	@${O}/examples/demo ${O}/examples ${EMBEDS}

# The bare loops of raw.c know nothing of the library.
${O}/bench/raw.o: Makefile
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_USER} -c bench/raw.c -o $@

${BENCH_BINS}: Makefile ${O}/bench/raw.o ${O}/libdgram.a
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}${CC_USER} ${@:${O}/bench/%=bench/%.c} ${O}/bench/raw.o \
	    ${O}/libdgram.a ${LDFLAGS} -pthread -o $@

# With libuv beside it, where that is there.
${O}/bench/resolve: Makefile ${O}/bench/raw.o ${O}/libdgram.a
	@echo "  CC   $@"; mkdir -p ${@D}
	${Q}if pkg-config --exists libuv 2> /dev/null; then \
		uv="-DBENCH_UV $$(pkg-config --cflags libuv)"; \
		libs=$$(pkg-config --libs libuv); \
	fi; \
	${CC_USER} $$uv bench/resolve.c ${O}/bench/raw.o ${O}/libdgram.a \
	    $$libs ${LDFLAGS} -pthread -o $@

bench: ${O}/bench/pps
	@${O}/bench/pps

bench-resolve: ${O}/bench/resolve
	@${O}/bench/resolve

bench-instructions: ${O}/bench/instr ${O}/bench/rawinstr
	@sh bench/instructions.sh ${O}

size: ${O}/libdgram.a
	@size -t ${O}/libdgram.a

# ---- installation ----

# "function page" for each name in the NAME section of a page of section 3 that
# is not the page's own: such a name gets a page that leads there.
MAN_LINKS =	for p in man/*.3; do [ ! -f "$$p" ] || \
		awk -v page="$${p\#\#*/}" \
		'/^\.Sh / { name = $$2 == "NAME" } \
		/^\.Nm / && name && $$2 ".3" != page { print $$2, page }' \
		"$$p"; done

install: all
	${INSTALL} -d ${DESTDIR}${INCDIR} ${DESTDIR}${LIBDIR}/pkgconfig \
	    ${DESTDIR}${MANDIR}/man3 ${DESTDIR}${MANDIR}/man7
	${INSTALL} -m 644 include/dgram.h ${DESTDIR}${INCDIR}/
	${INSTALL} -m 644 ${O}/libdgram.a ${DESTDIR}${LIBDIR}/
	${INSTALL} -m 644 ${O}/libdgram.pc ${DESTDIR}${LIBDIR}/pkgconfig/
	@for p in man/*.[37]; do [ ! -f "$$p" ] || \
	    ${INSTALL} -m 644 "$$p" \
		${DESTDIR}${MANDIR}/man$${p##*.}/ || exit 1; done
	@${MAN_LINKS} | while read -r name page; do \
	    echo ".so man3/$$page" > ${DESTDIR}${MANDIR}/man3/$$name.3 && \
	    chmod 644 ${DESTDIR}${MANDIR}/man3/$$name.3 || exit 1; done

uninstall:
	rm -f ${DESTDIR}${INCDIR}/dgram.h ${DESTDIR}${LIBDIR}/libdgram.a \
	    ${DESTDIR}${LIBDIR}/pkgconfig/libdgram.pc
	@for p in man/*.[37]; do \
	    rm -f ${DESTDIR}${MANDIR}/man$${p##*.}/$${p##*/}; done
	@${MAN_LINKS} | while read -r name page; do \
	    rm -f ${DESTDIR}${MANDIR}/man3/$$name.3; done

clean:
	rm -rf ${O}

.PHONY: all tests test tests-mini test-mini model check check-model \
	check-layers check-states check-conformance check-symbols \
	check-headers check-readme \
	check-install check-static check-man check-cross check-mutants \
	check-matrix ${MATRIX} examples examples-embed demo demo-embed \
	bench bench-instructions bench-resolve size install uninstall clean FORCE

-include ${OBJS:%=%.d} ${TEST_BINS:%=%.d} ${TEST_HELP:%=%.d}
-include ${MINI_BINS:%=%.d} ${MINI_HELP:%=%.d}
-include ${EXAMPLE_BINS:%=%.d} ${EMBED_BINS:%=%.d}
-include ${BENCH_BINS:%=%.d} ${O}/bench/resolve.d ${O}/bench/raw.o.d
-include ${O}/model.d
