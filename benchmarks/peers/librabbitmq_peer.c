/* librabbitmq, the C client: `librabbitmq_peer emit|consume URL COUNT WINDOW HANDLED BODY_FILE`, prints what the Python peers print.
 *
 * emit: up to WINDOW ready bodies are unconfirmed; its best: written as soon as there is room, confirms read in a loop.
 * consume: each body is searched for a swap's event type and acknowledged by itself; nothing is parsed.
 */
#define _GNU_SOURCE
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char EXCHANGE[] = "nova", KEY[] = "versioned_notifications.info", SWAP[] = "instance.volume_swap.";

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void check(int status, const char *doing) {
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", doing, amqp_error_string2(status));
        exit(1);
    }
}

static void check_reply(amqp_rpc_reply_t reply, const char *doing) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        fprintf(stderr, "%s: reply %d\n", doing, reply.reply_type);
        exit(1);
    }
}

static amqp_connection_state_t connect_to(char *url) {
    struct amqp_connection_info info;
    check(amqp_parse_url(url, &info), "url");
    amqp_connection_state_t connection = amqp_new_connection();
    check(amqp_socket_open(amqp_tcp_socket_new(connection), info.host, info.port), "connecting");
    const char *vhost = info.vhost[0] == '\0' ? "/" : info.vhost; /* of a URL that ends with a slash */
    check_reply(
        amqp_login(connection, vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, info.user, info.password), "login");
    amqp_channel_open(connection, 1);
    check_reply(amqp_get_rpc_reply(connection), "channel");
    return connection;
}

static void tell(long count, double wall, double cpu) {
    printf("{\"count\": %ld, \"wall\": %f, \"cpu\": %f}\n", count, wall, cpu);
}

static void emit(amqp_connection_state_t connection, long count, long window, const char *file) {
    static char body[1 << 20];
    FILE *opened = fopen(file, "rb");
    if (opened == NULL) {
        perror(file);
        exit(1);
    }
    size_t length = fread(body, 1, sizeof body, opened);
    fclose(opened);
    amqp_confirm_select(connection, 1);
    check_reply(amqp_get_rpc_reply(connection), "confirms");
    amqp_basic_properties_t properties = {0};
    properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.content_type = amqp_cstring_bytes("application/json");
    properties.delivery_mode = 2;
    amqp_bytes_t exchange = amqp_cstring_bytes(EXCHANGE), key = amqp_cstring_bytes(KEY), bytes = {length, body};
    char *confirmed = calloc(count + 2, 1);
    long sent = 0, pending = 0, lowest = 1;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    while (sent < count || pending > 0) {
        for (; sent < count && pending < window; sent++, pending++)
            check(amqp_basic_publish(connection, 1, exchange, key, 1, 0, &properties, bytes), "publishing");
        amqp_frame_t frame;
        check(amqp_simple_wait_frame(connection, &frame), "confirms");
        if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
            fprintf(stderr, "a message was refused\n");
            exit(1);
        }
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        long number = (long)ack->delivery_tag;
        for (long each = ack->multiple ? lowest : number; each <= number; each++)
            if (!confirmed[each]) {
                confirmed[each] = 1;
                pending--;
            }
        if (ack->multiple) lowest = number + 1;
        amqp_maybe_release_buffers(connection);
    }
    tell(count, seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void consume(amqp_connection_state_t connection, long count, long window, long handled) {
    amqp_basic_qos(connection, 1, 0, (uint16_t)window, 0);
    amqp_basic_consume(connection, 1, amqp_cstring_bytes(KEY), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    check_reply(amqp_get_rpc_reply(connection), "consuming");
    double wall = 0, cpu = 0;
    long swaps = 0;
    while (swaps < handled) {
        amqp_envelope_t envelope;
        check_reply(amqp_consume_message(connection, &envelope, NULL, 0), "consuming");
        if (memmem(envelope.message.body.bytes, envelope.message.body.len, SWAP, sizeof SWAP - 1) != NULL && ++swaps == 1) {
            wall = seconds(CLOCK_MONOTONIC);
            cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        }
        check(amqp_basic_ack(connection, 1, envelope.delivery_tag, 0), "acknowledging");
        amqp_destroy_envelope(&envelope);
        amqp_maybe_release_buffers(connection);
    }
    tell(count - 1, seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

int main(int arguments, char **words) {
    if (arguments != 7) {
        fprintf(stderr, "usage: %s emit|consume URL COUNT WINDOW HANDLED BODY_FILE\n", words[0]);
        return 2;
    }
    amqp_connection_state_t connection = connect_to(words[2]);
    long count = atol(words[3]), window = atol(words[4]);
    if (strcmp(words[1], "emit") == 0)
        emit(connection, count, window, words[6]);
    else
        consume(connection, count, window, atol(words[5]));
    amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS);
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
    return 0;
}
